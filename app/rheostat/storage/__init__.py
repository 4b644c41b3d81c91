"""All SQL: tables, engine, repositories, migrations. ORM rows and connections stay below the services."""
