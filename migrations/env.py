"""How Alembic runs our migrations: in one transaction, alone, under our own version table.

The connection comes from `rheostat.storage.migrations`; there is no configuration file and no offline mode.
"""

from alembic import context
from sqlalchemy import text

from rheostat.storage.tables import VERSION_TABLE

MIGRATION_LOCK = 0x5248454F  # "RHEO": one number for every replica that may migrate the same database
MIGRATION_LOCK_TIMEOUT = "120s"

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_TIMEOUT}'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
context.configure(connection=connection, version_table=VERSION_TABLE, transactional_ddl=True)
context.run_migrations()
