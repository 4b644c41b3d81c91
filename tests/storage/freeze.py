"""Makes a small database of a released schema, as SQL text, which stays in the tree from then on.

``python -m tests.storage.freeze 0004`` writes ``tests/storage/frozen/0004.sql``. To be run once for each revision
that is released, by the code that releases it; a file that is there already is not written again.
"""

import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from rheostat import service as use_cases
from rheostat.schemas.trials import ObserveRunRequest
from rheostat.service import Service
from rheostat.storage.engine import Database
from rheostat.storage.migrations import migrations_path
from rheostat.storage.migrations import upgrade as upgrade_to_head
from tests.domain.examples import A40, JOB, V100, Clock
from tests.service.examples import done, measure, predict, register, report

FROZEN = Path(__file__).parent / "frozen"


def upgrade_to(database: Database, revision: str) -> None:
    """Bring an empty database to an older schema than this version's."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))

    def migrate(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    database.alter(migrate)


def fill(service: Service, clock: Clock) -> None:
    """Let two jobs run for a while: ended, running and silent trials, whole runs and measurements."""
    for job_id in (JOB, "untouched"):
        register(service, job_id, policy="rheostat", eta_knob=0.75)
    for gpu, joules in ((V100, 100.0), (A40, 160.0)):
        measure(service, 32, gpu, w250=joules, w200=0.9 * joules, w150=0.95 * joules)
        run = ObserveRunRequest(batch_size=64, gpu=gpu, energy_joules=3 * joules, time_seconds=3.0, converged=True)
        done(use_cases.observe_run(service, JOB, run, None))
        for number in range(4):
            trial = predict(service, gpu, key=f"run-{gpu.model}-{number}", node="node-1")
            for epoch in (1, 2, 3):
                clock.turn(timedelta(minutes=1))
                figures = {"energy_joules": joules * epoch, "time_seconds": 1.0 * epoch}
                if report(service, trial, epoch, metric=0.4 + 0.2 * epoch, **figures).action == "stop":
                    break
        predict(service, gpu)
    clock.turn(timedelta(minutes=9))


def freeze(revision: str) -> None:
    """Write the database of a revision, unless it is there."""
    target = FROZEN / f"{revision}.sql"
    if target.exists():
        sys.exit(f"{target} is there already, and must stay as it is")
    with TemporaryDirectory() as directory:
        new, old = (Database(f"sqlite:///{directory}/{name}.db") for name in ("new", "old"))
        upgrade_to_head(new)
        clock = Clock()
        clock.time = datetime(2026, 1, 1, tzinfo=UTC)
        fill(Service.of(new, timedelta(minutes=10), clock), clock)
        upgrade_to(old, revision)
        connection = sqlite3.connect(old.sqlite_path)
        connection.execute("ATTACH ? AS new", (str(new.sqlite_path),))
        for (table,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            if table == "rheostat_schema_version":
                continue
            columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
            names = ", ".join(columns)
            connection.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
        connection.commit()
        connection.execute("DETACH new")
        target.write_text("\n".join(connection.iterdump()) + "\n")
        connection.close()


if __name__ == "__main__":
    freeze(sys.argv[1])
