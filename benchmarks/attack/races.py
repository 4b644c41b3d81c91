"""Requests at the same moment, and connections that break in the middle: nothing doubles, and nothing is left over."""

import asyncio
import socket
import struct
from contextlib import suppress
from itertools import count
from time import perf_counter
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import Connection, func, select

from benchmarks.attack.target import Attack, Target, Verdict
from benchmarks.server.big import BATCH_SIZES, GPUS
from benchmarks.server.load import connect, request
from rheostat.storage.engine import Database
from rheostat.storage.tables import jobs, observations, placements, policy_states, power_measurements, trials

SECONDS = 5.0
CLIENTS = 16
RESETS = 300

JOB = "contended"
_SETTINGS = {
    "batch_sizes": BATCH_SIZES,
    "default_batch_size": 64,
    "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"},
    "max_epochs": 10,
}
_PREDICT = {"gpu": GPUS[0].model_dump()}
_REPORT = {"epoch": 1, "metric": 0.95, "energy_joules": 100.0, "time_seconds": 1.0}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PATIENCE_SECONDS = 30.0


def _one_id(target: Target) -> Verdict:
    """Register, change, train and delete one job at the same time."""
    statuses: dict[int, int] = {}

    async def client(number: int, until: float) -> None:
        connection = await connect(target.port)

        async def ask(method: str, path: str, body: Any = None) -> Any:
            answer = await asyncio.wait_for(connection.ask(request(method, path, body)), _PATIENCE_SECONDS)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            return answer.json() if answer.ok and answer.body else None

        for turn in count(number):
            if perf_counter() > until:
                break
            if turn % 8 == 0:
                await ask("DELETE", f"/v1/jobs/{JOB}?force=true")
            await ask("PUT", f"/v1/jobs/{JOB}", _SETTINGS)
            if trial := await ask("POST", f"/v1/jobs/{JOB}/predict", _PREDICT):
                await ask("POST", f"/v1/trials/{trial['trial_id']}/observe", _REPORT)
            await ask("PATCH", f"/v1/jobs/{JOB}", {"eta_knob": 0.5 + turn % 5 / 10})
            await ask("GET", f"/v1/jobs/{JOB}/estimates")
        connection.close()

    async def all_clients() -> None:
        until = perf_counter() + SECONDS
        await asyncio.gather(*(client(number, until) for number in range(CLIENTS)))

    asyncio.run(all_clients())
    left = _left_over(target)
    return Verdict(f"{dict(sorted(statuses.items()))}, rows without a job: {left}", max(statuses) < 500 and not left)  # noqa: PLR2004


def _left_over(target: Target) -> int:
    """Return how many rows belong to none that exists, or to two jobs at once."""
    below = ((placements, jobs, "job_pk"), (trials, jobs, "job_pk"), (trials, placements, "placement_pk"),
             (observations, trials, "trial_id"), (policy_states, placements, "placement_pk"),
             (power_measurements, placements, "placement_pk"))  # fmt: skip

    def counted(connection: Connection) -> int:
        orphans = (
            select(func.count()).select_from(child).where(child.c[key].not_in(select(parent.c[key])))
            for child, parent, key in below
        )
        astray = select(func.count()).select_from(trials.join(placements)).where(trials.c.job_pk != placements.c.job_pk)
        return sum(connection.execute(query).scalar_one() for query in (*orphans, astray))

    database = Database(target.database_url)
    try:
        return database.read(counted)
    finally:
        database.close()


def _resets(target: Target) -> Verdict:
    """Hang up by a reset while a trial is being made, and ask for it again by its key."""
    with httpx.Client(base_url=f"http://127.0.0.1:{target.port}", timeout=_PATIENCE_SECONDS, trust_env=False) as client:
        client.put(f"/v1/jobs/{JOB}-reset", json=_SETTINGS).raise_for_status()
        keys = [uuid4().hex for _ in range(RESETS)]
        for number, key in enumerate(keys):
            message = request("POST", f"/v1/jobs/{JOB}-reset/predict", _PREDICT)
            message = message.replace(b"\r\n", f"\r\nIdempotency-Key: {key}\r\n".encode(), 1)
            with suppress(OSError), socket.create_connection(("127.0.0.1", target.port), _PATIENCE_SECONDS) as sender:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                sender.sendall(message)
                if number % 2:
                    sender.settimeout(number % 10 / 1000)
                    sender.recv(1)
        numbers = [
            client.post(f"/v1/jobs/{JOB}-reset/predict", json=_PREDICT, headers={"Idempotency-Key": key})
            .raise_for_status()
            .json()["number"]
            for key in keys
        ]
        made = client.get(f"/v1/jobs/{JOB}-reset").raise_for_status().json()["trials"]
    return Verdict(f"{RESETS} keys, {made} trials", made == len(set(numbers)) == RESETS)


def _half_closed(target: Target) -> Verdict:
    """Close the sending half after a request, as `nc -N` does, and wait for the answer."""
    with socket.create_connection(("127.0.0.1", target.port), _PATIENCE_SECONDS) as connection:
        connection.sendall(request("GET", "/v1/jobs"))
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)
    return Verdict(answer[9:12].decode() or "closed without an answer", held=True)


def _wrong_tokens(target: Target) -> Verdict:
    """Try tokens without end, each another one."""
    counted: dict[int, int] = {}

    async def client(until: float) -> None:
        connection = await connect(target.port)
        while perf_counter() < until:
            message = request("GET", "/v1/jobs")
            message = message.replace(b"\r\n", f"\r\nAuthorization: Bearer rheostat_{uuid4().hex}\r\n".encode(), 1)
            try:
                answer = await asyncio.wait_for(connection.ask(message), _PATIENCE_SECONDS)
            except ConnectionError:
                connection = await connect(target.port)
                continue
            counted[answer.status] = counted.get(answer.status, 0) + 1
        connection.close()

    async def all_clients() -> None:
        until = perf_counter() + SECONDS
        await asyncio.gather(*(client(until) for _ in range(CLIENTS)))

    asyncio.run(all_clients())
    return Verdict(f"{dict(sorted(counted.items()))}", set(counted) <= {401, 429})


RACES = (
    Attack("one job made and deleted by 16", _one_id, most_milliseconds=1000.0),
    Attack("resets while a trial is made", _resets),
    Attack("a half-closed connection", _half_closed),
    Attack("wrong tokens by 16", _wrong_tokens, most_milliseconds=300.0),
)
"""What breaks where two things happen at once."""
