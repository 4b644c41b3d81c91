"""The policies' state in SQL, behind the same mapping that a dict offers."""

import json
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update

from rheostat.errors import PolicyFailed
from rheostat.policy.interface import Job, State
from rheostat.storage.tables import policy_states

Part = Literal["batch_size", "power_limit", "cost_bound"]
"""As in :class:`rheostat.policy.advisor.Stores`."""


def states_of(connection: Connection, placement_pks: Collection[int]) -> dict[int, dict[str, State]]:
    """Return the parts of the states of some placements, by their rows."""
    states: dict[int, dict[str, State]] = {placement_pk: {} for placement_pk in placement_pks}
    query = select(policy_states.c.placement_pk, policy_states.c.part, policy_states.c.state)
    for placement_pk, part, state in connection.execute(query.where(policy_states.c.placement_pk.in_(placement_pks))):
        states[placement_pk][part] = state
    return states


class States:
    """The states of a job's placements as policies see them, and what they changed.

    Args:
        placement_pks: The rows of the placements that may be asked for.
        loaded: The states of their parts by row.
    """

    def __init__(self, placement_pks: Mapping[Job, int], loaded: Mapping[int, dict[str, State]]) -> None:
        self._placement_pks = placement_pks
        self._loaded: dict[int, dict[str, State]] = {}
        self._stored: dict[tuple[int, str], str] = {}
        self._touched: set[tuple[int, str]] = set()
        for placement_pk, parts in loaded.items():
            self._remember(placement_pk, parts)

    def part(self, part: Part, *, replaced: bool = False) -> "PartStore":
        """Return the store of one part of the states.

        Args:
            part: Which.
            replaced: Whether what it gives out is never changed in place.
        """
        return PartStore(self, part, replaced=replaced)

    def of(self, job: Job) -> dict[str, State]:
        """Return the parts of a placement's state, by name.

        Raises:
            KeyError: It is not one of the placements of this job.
        """
        return self._loaded[self._placement_pks[job]]

    def touch(self, job: Job, part: Part) -> None:
        """Note that a part can have changed."""
        self._touched.add((self._placement_pks[job], part))

    def jobs(self) -> Iterator[Job]:
        """Iterate over the placements."""
        return iter(self._placement_pks)

    def take_changes(self) -> tuple[tuple[int, str, str], ...]:
        """Return row, part and JSON of what changed since this was asked last, also what was changed in place.

        What goes on being handed out is what another process would read.

        Raises:
            PolicyFailed: A policy keeps what JSON cannot hold, or a number that is not finite.
        """
        changes = []
        for placement_pk, part in sorted(self._touched):
            parts = self._loaded[placement_pk]
            text = _text(parts[part]) if part in parts else None
            if text is not None and text != self._stored.get((placement_pk, part)):
                changes.append((placement_pk, part, text))
        for placement_pk, part, text in changes:
            self._stored[placement_pk, part] = text
            self._loaded[placement_pk][part] = json.loads(text)
        self._touched.clear()
        return tuple(changes)

    def _remember(self, placement_pk: int, parts: dict[str, State]) -> None:
        self._loaded[placement_pk] = parts
        for part, state in parts.items():
            self._stored[placement_pk, part] = _text(state)


class PolicyStates(States):
    """The states of a job's placements, read as they are asked for and written back by :meth:`save`.

    Args:
        connection: The transaction.
        placement_pks: The rows of the placements that may be asked for.
    """

    def __init__(self, connection: Connection, placement_pks: Mapping[Job, int]) -> None:
        super().__init__(placement_pks, {})
        self._connection = connection

    def load(self) -> None:
        """Read the states of all placements that were not read yet.

        To be called before a policy is asked: what fails while it decides would pass for its own fault.
        """
        missing = [placement_pk for placement_pk in self._placement_pks.values() if placement_pk not in self._loaded]
        if not missing:
            return
        for placement_pk, parts in states_of(self._connection, missing).items():
            self._remember(placement_pk, parts)

    def of(self, job: Job) -> dict[str, State]:
        """Return the parts of a placement's state, by name.

        Raises:
            KeyError: It is not one of the placements of this job.
        """
        if self._placement_pks[job] not in self._loaded:
            self.load()
        return super().of(job)

    def clear(self, job: Job) -> None:
        """Forget the state of a placement, here and in the table."""
        placement_pk = self._placement_pks[job]
        self._connection.execute(delete(policy_states).where(policy_states.c.placement_pk == placement_pk))
        self._loaded[placement_pk] = {}
        self._stored = {key: text for key, text in self._stored.items() if key[0] != placement_pk}

    def save(self) -> None:
        """Write the parts that changed since they were read, also those that were changed in place.

        Raises:
            PolicyFailed: A policy keeps what JSON cannot hold, or a number that is not finite.
        """
        known = set(self._stored)
        for placement_pk, part, text in self.take_changes():
            row = {"placement_pk": placement_pk, "part": part, "state": json.loads(text)}
            if (placement_pk, part) in known:
                self._connection.execute(
                    update(policy_states)
                    .where(policy_states.c.placement_pk == placement_pk, policy_states.c.part == part)
                    .values(state=row["state"])
                )
            else:
                self._connection.execute(insert(policy_states).values(row))


class PartStore(MutableMapping[Job, State]):
    """A :data:`rheostat.policy.interface.StateStore` over one part of the policies' states."""

    def __init__(self, states: States, part: Part, *, replaced: bool) -> None:
        self._states = states
        self._part = part
        self._replaced = replaced

    def __getitem__(self, job: Job) -> State:
        state = self._states.of(job)[self._part]
        if not self._replaced:
            self._states.touch(job, self._part)
        return state

    def __setitem__(self, job: Job, state: State) -> None:
        self._states.of(job)[self._part] = state
        self._states.touch(job, self._part)

    def __delitem__(self, job: Job) -> None:
        raise TypeError("a policy may replace the state of a job, not take it away")

    def __iter__(self) -> Iterator[Job]:
        return (job for job in self._states.jobs() if self._part in self._states.of(job))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _text(state: State) -> str:
    try:
        return json.dumps(state, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise PolicyFailed(
            f"The policy's state cannot be stored: {error}.",
            hint="State is plain JSON: dicts with string keys, lists, finite numbers, strings, booleans, None.",
        ) from error
