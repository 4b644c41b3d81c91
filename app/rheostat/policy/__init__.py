"""The decisions, pure: what to try next, when to stop, which power limit is best.

Nothing here reads a clock, a file, the environment or a database, and nothing logs.
"""
