"""The migrations lead to exactly the tables of the models."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import schema
from app.db import Base
from app.lib import revisions
from tests.conftest import process_number
from tests.services import database_url, run_sql

ROOT = Path(__file__).resolve().parent.parent.parent
MAKE = "import sys; from tests import schema; getattr(schema, sys.argv[1])(sys.argv[2])"
VERSIONS = ROOT / "migrations" / "versions"

# What a database consists of, as PostgreSQL itself spells it.
CATALOG = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated::text,
               pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "functions": """
        SELECT proname, pg_get_functiondef(p.oid) FROM pg_proc p
        WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (
          SELECT 1 FROM pg_depend WHERE objid = p.oid AND deptype = 'e')""",
    "extensions": "SELECT extname FROM pg_extension",
    "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "sequences": "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'",
}


@pytest.fixture
def empty_database():
    """The address of an empty database."""
    name = f"empty_{process_number()}"
    run_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    yield database_url(name)
    run_sql(f"DROP DATABASE {name} WITH (FORCE)")


def look(url: str) -> dict[str, set[tuple]]:
    """Return everything in the database at `url`, but what Alembic keeps for itself."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = {what: {tuple(row) for row in connection.execute(sa.text(query))} for what, query in CATALOG.items()}
    engine.dispose()
    return {what: {row for row in rows if row[0] != "alembic_version"} for what, rows in found.items()}


@pytest.mark.parametrize("what", CATALOG)
def test_the_migrations_make_exactly_what_the_models_say(what, both):
    migrated, modelled = both
    assert not migrated[what] - modelled[what], "only the migrations make these"
    assert not modelled[what] - migrated[what], "a migration is missing: make migration MESSAGE=..."


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """What the migrations made, and what the models make."""
    names = [f"{word}_{process_number()}" for word in ("by_migrations", "by_models")]
    for name in names:
        run_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    migrated, modelled = (database_url(name) for name in names)
    for verb, url in (("migrate", migrated), ("create", modelled)):
        # In a process of its own: create_app() would take this one's engine over.
        subprocess.run([sys.executable, "-c", MAKE, verb, url], cwd=ROOT, check=True)
    found = look(migrated), look(modelled)
    for name in names:
        run_sql(f"DROP DATABASE {name} WITH (FORCE)")
    return found


def test_alembic_finds_nothing_to_add(app):
    schema.bind_alembic().check()


def test_every_table_in_the_code_is_loaded_with_the_app(app):
    written = {
        found
        for path in (ROOT / "app").rglob("*.py")
        for found in re.findall(r'__tablename__ = "(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert written
    assert written == set(Base.metadata.tables), "a module with a table is loaded only when it is used"


def test_a_second_upgrade_does_nothing(app):
    assert schema.current() == schema.newest()
    assert schema.upgrade() == ""


def test_there_is_one_newest_migration_and_it_is_found_without_alembic():
    from alembic.script import ScriptDirectory

    assert revisions.newest(VERSIONS) == ScriptDirectory(str(schema.MIGRATIONS)).get_current_head()


def test_two_newest_migrations_are_refused(tmp_path):
    (tmp_path / "a.py").write_text('revision = "a"\ndown_revision = None\n')
    assert revisions.newest(tmp_path) == "a"
    (tmp_path / "b.py").write_text('revision = "b"\ndown_revision = "a"\n')
    assert revisions.newest(tmp_path) == "b"
    (tmp_path / "c.py").write_text('revision = "c"\ndown_revision = "a"\n')
    with pytest.raises(ValueError, match=r"2 newest migrations \(b, c\)"):
        revisions.newest(tmp_path)


def test_two_machines_may_migrate_at_once(empty_database):
    command = [sys.executable, "-c", MAKE, "migrate", empty_database]
    started = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said


def test_a_migration_that_is_out_never_changes():
    """Whoever has it applied would never get the change: write the next one, and add its sum to the list."""
    listed = dict(reversed(line.split()) for line in (VERSIONS.parent / "released.sha256").read_text().splitlines())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VERSIONS.glob("*.py")}
    assert listed == found, "see above; `cd migrations/versions && sha256sum *.py > ../released.sha256` writes the list"
