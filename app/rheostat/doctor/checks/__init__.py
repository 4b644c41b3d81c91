"""The checks: pure functions from a machine to a finding."""
