"""The server killed under load, again and again; nothing that it acknowledged may be lost."""

from pathlib import Path
from random import Random
from time import sleep

from benchmarks.attack.target import Verdict
from tests.faults.invariants import check
from tests.faults.load import Trainers, register
from tests.serving import Serving, migrate

REPORTS_BETWEEN = 20
_LONGEST_MOMENT_SECONDS = 0.02


def kill_loop(database_url: str, folder: Path, workers: int, kills: int) -> Verdict:
    """Kill a server and start it again, each time after some reports and at another moment of its commits.

    Returns:
        How much was acknowledged meanwhile; it is held where all of that is there once, trial numbers and sequences
        have no gap and no twin, and `jobs rebuild` changes no state.
    """
    migrate(database_url)
    server = Serving(database_url, folder / "kills.log", "--workers", str(workers))
    random = Random(1)
    try:
        server.start()
        register(str(server.client.base_url))
        with Trainers([str(server.client.base_url)]) as trainers:
            for _ in range(kills):
                trainers.wait_for_reports(REPORTS_BETWEEN)
                sleep(random.uniform(0, _LONGEST_MOMENT_SECONDS))
                server.kill()
                server.start()
                trainers.urls[0] = str(server.client.base_url)
    finally:
        server.close()
    refused = sorted({status for status, _ in trainers.said.refusals})
    words = f"{kills} kills of {workers} workers, {len(trainers.said.reports)} reports acknowledged, refused: {refused}"
    try:
        check(database_url, trainers.said)
    except AssertionError as error:
        return Verdict(f"{words}; {error}", held=False)
    return Verdict(f"{words}; none is lost, and a rebuild changes no state", held=True)
