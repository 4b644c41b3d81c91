"""How explanations word what they count."""


def counted(count: int, thing: str) -> str:
    """Return a number of things, as ``1 run`` or ``2 runs``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"
