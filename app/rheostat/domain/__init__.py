"""What a job is and what it does, as pure functions of values: no clock, no log, no database."""
