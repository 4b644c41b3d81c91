"""What must hold in the database after any fault."""

from collections import Counter

from sqlalchemy import Connection, select

from rheostat import service as use_cases
from rheostat.service import Service
from rheostat.storage.engine import Database
from rheostat.storage.tables import jobs, observations, policy_states, trials
from tests.faults.load import JOB, Acknowledged


def check(database_url: str, said: Acknowledged) -> None:
    """Check that what was acknowledged is there once, that numbers have no twin, and that the state is the fold."""
    assert said.reports, "nothing was acknowledged, so nothing was tried"
    database = Database(database_url)
    try:
        database.read(lambda connection: _check_trials(connection, said))
        database.read(lambda connection: _check_reports(connection, said))
        before = database.read(_states)
        use_cases.rebuild_job(Service.of(database), JOB).result(60)
        assert database.read(_states) == before, "the policy's state is not the fold over the observations"
    finally:
        database.close()


def _check_trials(connection: Connection, said: Acknowledged) -> None:
    rows = connection.execute(select(trials.c.trial_id, trials.c.number)).all()
    numbers = dict(rows)
    assert max(Counter(numbers.values()).values()) == 1, "trial numbers have twins"
    assert {trial_id: numbers.get(trial_id) for trial_id in said.trials} == said.trials
    assert connection.execute(select(jobs.c.next_trial_number)).scalar_one() == max(numbers.values()) + 1
    sequences = connection.execute(select(trials.c.sequence).where(trials.c.sequence.is_not(None))).scalars().all()
    assert sorted(sequences) == list(range(1, len(sequences) + 1)), "conclusions are not counted one by one"


def _check_reports(connection: Connection, said: Acknowledged) -> None:
    query = select(observations.c.trial_id, observations.c.epoch, observations.c.energy_joules)
    stored = Counter((trial_id, epoch, joules) for trial_id, epoch, joules in connection.execute(query))
    missing = [key for key, joules in said.reports.items() if stored[*key, joules] != 1]
    assert not missing, f"{len(missing)} acknowledged reports are not there exactly once"


def _states(connection: Connection) -> list[tuple[object, ...]]:
    query = select(policy_states).order_by(policy_states.c.placement_pk, policy_states.c.part)
    return [tuple(row) for row in connection.execute(query)]
