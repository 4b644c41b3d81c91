"""The policy's state of a job while one decision works on it, behind the mappings that policies expect."""

import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import deepcopy
from dataclasses import dataclass

from rheostat.domain.records import PlacementKey, StatePart
from rheostat.errors import PolicyFailed
from rheostat.policy.interface import Job as PolicyJob
from rheostat.policy.interface import State

States = Mapping[PlacementKey, Mapping[StatePart, State]]
"""The parts of the policy's state by placement. Plain JSON, never changed in place."""

_KEPT: frozenset[StatePart] = frozenset(["beginnings", "totals"])
"""Parts that nothing is learned from, and that are no fold over what policies learn from."""

_Key = tuple[PlacementKey, StatePart]


@dataclass(frozen=True, slots=True)
class StateChange:
    """A part of the policy's state that a decision changed.

    Attributes:
        text: The part as JSON.
        state: The same, parsed.
    """

    text: str
    state: State


class WorkingStates:
    """A job's policy states as one decision sees and changes them; what the job holds stays as it is.

    Args:
        stored: What the job holds.
        views: The job's placements as policies see them; new ones may be added.
    """

    def __init__(self, stored: States, views: Mapping[PlacementKey, PolicyJob]) -> None:
        self._stored = stored
        self._base = stored
        self._views = views
        self._given: dict[_Key, State] = {}
        self._touched: set[_Key] = set()
        self._changes: dict[_Key, StateChange] = {}
        self._copied: set[StatePart] = set()

    def store(self, part: StatePart, *, replaced: bool) -> "PartStore":
        """Return the store of one part of the states.

        Args:
            part: Which.
            replaced: Whether the policy never changes in place what the store gives it. If it may, it is given copies.
        """
        if not replaced:
            self._copied.add(part)
        return PartStore(self, part)

    def replace(self, states: States) -> None:
        """Work on other states from now on, but for the parts that are no fold over what policies learn from."""
        self._base = {
            placement: {part: state for part, state in parts.items() if part in _KEPT}
            for placement, parts in self._stored.items()
        }
        for learned in (self._given, self._changes):
            for key in [key for key in learned if key[1] not in _KEPT]:
                del learned[key]
        self._touched &= self._given.keys()
        for placement, parts in states.items():
            for part, state in parts.items():
                self.set((placement, part), state)

    def learn(self, lesson: Callable[[], None]) -> None:
        """Let the policy learn; where it fails, or keeps what cannot be stored, nothing is changed by it.

        Raises:
            PolicyFailed: The policy raised, or its state is not plain JSON.
        """
        self._settle()
        before = {key: deepcopy(state) if key[1] in self._copied else state for key, state in self._given.items()}
        changes = dict(self._changes)
        try:
            lesson()
            self._settle()
        except PolicyFailed:
            self._given, self._changes = before, changes
            self._touched.clear()
            raise

    def changes(self) -> Mapping[_Key, StateChange | None]:
        """Return the parts that differ from what the job holds; None for one that is gone.

        Raises:
            PolicyFailed: The policy keeps what JSON cannot hold, or a number that is not finite.
        """
        self._settle()
        changed: dict[_Key, StateChange | None] = {}
        for key, change in self._changes.items():
            stored = _part(self._stored, key)
            if stored is None or stored != change.state or state_text(stored) != change.text:
                changed[key] = change
        if self._base is not self._stored:
            for placement, parts in self._stored.items():
                for part in parts:
                    if part not in _KEPT and (placement, part) not in self._changes:
                        changed[placement, part] = None
        return changed

    def get(self, key: _Key) -> State:
        """Return one part; a policy that may change it in place is given a copy.

        Raises:
            KeyError: There is none.
        """
        if key in self._given:
            state = self._given[key]
        else:
            found = _part(self._base, key)
            if found is None:
                raise KeyError(key)
            state = found
        if key[1] in self._copied:
            if key not in self._given:
                state = self._given[key] = deepcopy(state)
            self._touched.add(key)
        return state

    def set(self, key: _Key, state: State) -> None:
        """Replace one part.

        Raises:
            KeyError: The job has no such placement.
        """
        if key[0] not in self._views:
            raise KeyError(key[0])
        self._given[key] = state
        self._touched.add(key)

    def placements_with(self, part: StatePart) -> Iterator[PolicyJob]:
        """Iterate over the placements that have a part."""
        for placement, view in self._views.items():
            if (placement, part) in self._given or _part(self._base, (placement, part)) is not None:
                yield view

    def _settle(self) -> None:
        """Turn what was touched into JSON and back: from here on it is what another process would read."""
        for key in sorted(self._touched):
            text = state_text(self._given[key])
            known = self._changes.get(key)
            if known is None or known.text != text:
                self._changes[key] = known = StateChange(text, json.loads(text))
            self._given[key] = known.state if key[1] not in self._copied else deepcopy(known.state)
        self._touched.clear()


class PartStore(MutableMapping[PolicyJob, State]):
    """A :data:`rheostat.policy.interface.StateStore` over one part of a job's policy states."""

    def __init__(self, states: WorkingStates, part: StatePart) -> None:
        self._states = states
        self._part = part

    def __getitem__(self, job: PolicyJob) -> State:
        return self._states.get((key_of(job), self._part))

    def __setitem__(self, job: PolicyJob, state: State) -> None:
        self._states.set((key_of(job), self._part), state)

    def __delitem__(self, job: PolicyJob) -> None:
        raise TypeError("A policy may replace the state of a job; it cannot delete it.")

    def __iter__(self) -> Iterator[PolicyJob]:
        return self._states.placements_with(self._part)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def state_text(state: State) -> str:
    """Return a policy's state as JSON, the same text for the same state.

    Raises:
        PolicyFailed: It is not plain JSON, or holds a number that is not finite.
    """
    try:
        return json.dumps(state, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise PolicyFailed(
            f"The policy's state cannot be stored: {error}.",
            hint="State is plain JSON: dicts with string keys, lists, finite numbers, strings, booleans, None.",
        ) from error


def key_of(job: PolicyJob) -> PlacementKey:
    """Return which placement a policy's view is of."""
    return PlacementKey(job.gpu_model, job.gpu_count, job.power_scope, job.power_profile)


def _part(states: States, key: _Key) -> State | None:
    parts = states.get(key[0])
    return None if parts is None else parts.get(key[1])
