"""Keys for what is derived from a policy's state, where states are replaced when they change."""

from typing import Generic, TypeVar

T = TypeVar("T")


class ByIdentity(Generic[T]):
    """A value that is equal to itself alone: cheaper to look up than by what it holds.

    It refers to the value, so that no other one can take its identity while something is remembered under this key.
    """

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)
