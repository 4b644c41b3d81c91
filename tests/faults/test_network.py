"""A network that loses, delays and repeats; trainers that vanish after predict are among them in every test here."""

from pathlib import Path
from time import sleep

from tests.faults.flaky import flaky
from tests.faults.invariants import check
from tests.faults.load import Trainers, register
from tests.serving import migrate, serving


def test_lost_delayed_and_repeated_requests_change_nothing_twice(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    with serving(database_url, tmp_path / "log") as server:
        register(str(server.client.base_url))
        with flaky(str(server.client.base_url)) as url, Trainers([url]) as trainers:
            while len(trainers.said.reports) < 100:
                sleep(0.02)
        sleep(0.1)  # what was delayed has come by then
    check(database_url, trainers.said)
    assert trainers.said.refusals == []
