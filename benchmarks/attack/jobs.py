"""Attacks through one big job: what an operator or a client may ask of it must not slow the jobs beside it."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from time import perf_counter
from typing import Any

import httpx

from benchmarks.attack.target import Attack, Target, Verdict
from benchmarks.server.big import BATCH_SIZES, BIG_JOB, GPUS
from benchmarks.server.load import connect, request

SECONDS = 10.0
"""How long clients ask again and again."""

PLACEMENTS = 500
READERS = 80
WRITERS = 8

MOST_REPRICING_SECONDS = 2.0
MOST_ESTIMATES_SECONDS = 2.0
MOST_ENTERING_SECONDS = 60.0
MOST_COMMAND_SECONDS = 300.0

_PATIENCE_SECONDS = 300.0
_PREDICT = {"gpu": GPUS[0].model_dump()}
_NOT_FOUND = 404


def _client(target: Target) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{target.port}", timeout=_PATIENCE_SECONDS, trust_env=False)


def _asked(target: Target, method: str, path: str, body: Any = None, *, most_seconds: float) -> Verdict:
    with _client(target) as client:
        began = perf_counter()
        answer = client.request(method, path, json=body)
        seconds = perf_counter() - began
    held = answer.is_success and seconds <= most_seconds
    return Verdict(f"{answer.status_code} in {seconds:.2f} s, {len(answer.content)} bytes", held)


def _patched(change: dict[str, Any], most_seconds: float) -> Callable[[Target], Verdict]:
    return lambda target: _asked(target, "PATCH", f"/v1/jobs/{BIG_JOB}", change, most_seconds=most_seconds)


def _deleted(target: Target) -> Verdict:
    gone = _asked(target, "DELETE", f"/v1/jobs/{BIG_JOB}?force=true", most_seconds=MOST_COMMAND_SECONDS)
    with _client(target) as client:
        return Verdict(gone.words, gone.held and client.get(f"/v1/jobs/{BIG_JOB}").status_code == _NOT_FOUND)


def _commanded(target: Target, *command: str) -> Verdict:
    """Run a command of the operator's on the database of the running server."""
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "rheostat", *command, "--database-url", target.database_url],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    seconds = perf_counter() - began
    said = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["nothing said"]
    return Verdict(f"{seconds:.1f} s: {said[0][:80]}", done.returncode == 0 and seconds <= MOST_COMMAND_SECONDS)


def _backed_up(target: Target) -> Verdict:
    if not target.database_url.startswith("sqlite"):
        return Verdict("pg_dump is PostgreSQL's own", held=True)
    verdict = _commanded(target, "db", "backup", str(target.folder / "backup.db"))
    (target.folder / "backup.db").unlink(missing_ok=True)
    return verdict


def _by_many(target: Target, message: bytes, clients: int) -> Verdict:
    """Let clients send the same request again and again, and say how often it was answered."""

    async def client(until: float) -> list[int]:
        connection = await connect(target.port)
        statuses = []
        while perf_counter() < until:
            statuses.append((await asyncio.wait_for(connection.ask(message), _PATIENCE_SECONDS)).status)
        connection.close()
        return statuses

    async def all_clients() -> list[int]:
        until = perf_counter() + SECONDS
        return list(chain.from_iterable(await asyncio.gather(*(client(until) for _ in range(clients)))))

    began = perf_counter()
    statuses = asyncio.run(all_clients())
    rate = len(statuses) / (perf_counter() - began)
    counts = {status: statuses.count(status) for status in sorted(set(statuses))}
    return Verdict(f"{rate:.0f} answers/s to {clients} clients: {counts}", max(statuses) < 500)  # noqa: PLR2004


def _savings(target: Target) -> Verdict:
    return _by_many(target, request("GET", f"/v1/jobs/{BIG_JOB}/savings"), READERS)


def _lists(target: Target) -> Verdict:
    return _by_many(target, request("GET", f"/v1/jobs/{BIG_JOB}/trials?state=running&limit=100"), READERS)


def _repeated_keys(target: Target) -> Verdict:
    """Repeat the idempotency key of a trial that has ended."""
    with _client(target) as client:
        key = {"Idempotency-Key": "attack-of-repeats"}
        trial = client.post(f"/v1/jobs/{BIG_JOB}/predict", json=_PREDICT, headers=key).raise_for_status().json()
        ended = {"epoch": 1, "metric": 0.95, "energy_joules": 100.0, "time_seconds": 1.0}
        client.post(f"/v1/trials/{trial['trial_id']}/observe", json=ended).raise_for_status()
    message = request("POST", f"/v1/jobs/{BIG_JOB}/predict", _PREDICT)
    return _by_many(target, message.replace(b"\r\n", b"\r\nIdempotency-Key: attack-of-repeats\r\n", 1), WRITERS)


def _many_placements(target: Target) -> Verdict:
    """Enter as many placements as a job takes, and ask for the estimates of them all."""
    job = "placements"
    settings = {
        "batch_sizes": BATCH_SIZES,
        "default_batch_size": 64,
        "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"},
        "max_epochs": 10,
    }
    report = {"epoch": 1, "metric": 0.95, "energy_joules": 100.0, "time_seconds": 1.0}
    entered = 0
    with _client(target) as client:
        client.put(f"/v1/jobs/{job}", json=settings).raise_for_status()
        give_up_at = perf_counter() + MOST_ENTERING_SECONDS
        for number in range(PLACEMENTS):
            gpu = {"model": f"GPU {number}", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250}
            predicted = client.post(f"/v1/jobs/{job}/predict", json={"gpu": gpu})
            if not predicted.is_success or perf_counter() > give_up_at:
                break
            client.post(f"/v1/trials/{predicted.json()['trial_id']}/observe", json=report).raise_for_status()
            entered += 1
    asked = _asked(target, "GET", f"/v1/jobs/{job}/estimates", most_seconds=MOST_ESTIMATES_SECONDS)
    return Verdict(f"{entered} placements entered; {asked.words}", asked.held)


_BUSY_MILLISECONDS = 300.0
_CROWDED_MILLISECONDS = 1000.0
"""Clients that ask without a pause share the processor with all others; a probe gives up after a second or more."""

JOBS = (
    Attack("a trial key repeated by 8", _repeated_keys, most_milliseconds=_BUSY_MILLISECONDS),
    Attack("savings to 80 readers", _savings, most_milliseconds=_CROWDED_MILLISECONDS),
    Attack("running trials to 80 readers", _lists, most_milliseconds=_CROWDED_MILLISECONDS),
    Attack("estimates of 500 placements", _many_placements),
    Attack("PATCH eta_knob", _patched({"eta_knob": 0.7}, MOST_REPRICING_SECONDS)),
    Attack("PATCH policy zeus", _patched({"policy": "zeus"}, MOST_COMMAND_SECONDS), 500),
    Attack("PATCH policy rheostat", _patched({"policy": "rheostat"}, MOST_COMMAND_SECONDS), 500),
    Attack("jobs rebuild", lambda target: _commanded(target, "jobs", "rebuild", BIG_JOB)),
    Attack("db backup", _backed_up),
    Attack("db prune", lambda target: _commanded(target, "db", "prune", "--keep-days", "0")),
    Attack("DELETE", _deleted),
)
"""What is asked of one big job, beside which others go on; the last deletes it."""
