"""The server is killed in the middle of writes, again and again, under load."""

from pathlib import Path
from time import sleep

from tests.faults.invariants import check
from tests.faults.load import Trainers, register
from tests.serving import migrate, serving

KILLS = 3


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    with serving(database_url, tmp_path / "log") as server:
        register(str(server.client.base_url))
        with Trainers([str(server.client.base_url)]) as trainers:
            for kill in range(KILLS):
                trainers.wait_for_reports(20)
                sleep(kill * 0.003)  # at another moment of a commit
                server.kill()
                server.start()
                trainers.urls[0] = str(server.client.base_url)
    check(database_url, trainers.said)
    assert not [status for status, _ in trainers.said.refusals if status < 500]


def test_one_of_two_servers_is_killed_and_the_other_goes_on(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    with serving(database_url, tmp_path / "a") as a, serving(database_url, tmp_path / "b") as b:
        register(str(a.client.base_url))
        with Trainers([str(a.client.base_url), str(b.client.base_url)]) as trainers:
            for _ in range(2):
                trainers.wait_for_reports(20)
                a.kill()
                a.start()
                trainers.urls[0] = str(a.client.base_url)
    check(database_url, trainers.said)
    assert trainers.said.refusals == []
