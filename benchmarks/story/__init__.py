"""The figures of the documentation, drawn from replays: ``make figures TRACES=folder``."""
