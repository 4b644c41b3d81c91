"""The policies' state in SQL, behind the same mapping that a dict offers."""

import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Literal, get_args

from sqlalchemy import Connection, delete, insert, select, update

from rheostat.errors import PolicyFailed
from rheostat.policy.interface import Job, State
from rheostat.storage.tables import policy_states

Part = Literal["batch_size", "power_limit", "cost_bound"]
PARTS: tuple[Part, ...] = get_args(Part)
"""In the order of :class:`rheostat.policy.advisor.Stores`."""


class PolicyStates:
    """The states of a job's placements, read as they are asked for and written back by :meth:`save`.

    Args:
        connection: The transaction.
        placement_pks: The rows of the placements that may be asked for.
    """

    def __init__(self, connection: Connection, placement_pks: Mapping[Job, int]) -> None:
        self._connection = connection
        self._placement_pks = placement_pks
        self._loaded: dict[int, dict[str, State]] = {}
        self._stored: dict[tuple[int, str], str] = {}

    def part(self, part: Part) -> "PartStore":
        """Return the store of one part of the states."""
        return PartStore(self, part)

    def of(self, job: Job) -> dict[str, State]:
        """Return the parts of a placement's state, by name.

        Raises:
            KeyError: It is not one of the placements of this job.
        """
        placement_pk = self._placement_pks[job]
        if placement_pk not in self._loaded:
            query = select(policy_states.c.part, policy_states.c.state)
            rows = self._connection.execute(query.where(policy_states.c.placement_pk == placement_pk))
            self._loaded[placement_pk] = {row.part: row.state for row in rows}
            for part, state in self._loaded[placement_pk].items():
                self._stored[placement_pk, part] = _text(state)
        return self._loaded[placement_pk]

    def jobs(self) -> Iterator[Job]:
        """Iterate over the placements."""
        return iter(self._placement_pks)

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
        for placement_pk, parts in self._loaded.items():
            for part, state in parts.items():
                text = _text(state)
                stored = self._stored.get((placement_pk, part))
                if text == stored:
                    continue
                row = {"placement_pk": placement_pk, "part": part, "state": json.loads(text)}
                if stored is None:
                    self._connection.execute(insert(policy_states).values(row))
                else:
                    self._connection.execute(
                        update(policy_states)
                        .where(policy_states.c.placement_pk == placement_pk, policy_states.c.part == part)
                        .values(state=row["state"])
                    )
                self._stored[placement_pk, part] = text


class PartStore(MutableMapping[Job, State]):
    """A :data:`rheostat.policy.interface.StateStore` over one part of the policies' states."""

    def __init__(self, states: PolicyStates, part: Part) -> None:
        self._states = states
        self._part = part

    def __getitem__(self, job: Job) -> State:
        return self._states.of(job)[self._part]

    def __setitem__(self, job: Job, state: State) -> None:
        self._states.of(job)[self._part] = state

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
