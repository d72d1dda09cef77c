"""A start over a database that is up to date pays nothing for migrations."""

from __future__ import annotations

import sys

import pytest

from app.adapters.migrator import migrate, require_migrated
from app.adapters.postgres import Database


@pytest.fixture
def no_alembic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alembic and SQLAlchemy cannot be imported."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("alembic", "sqlalchemy")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "alembic", None)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)


@pytest.mark.usefixtures("no_alembic")
def test_a_schema_that_is_up_to_date_is_seen_without_loading_alembic(migrated_database: Database) -> None:
    require_migrated(migrated_database)
    assert migrate(migrated_database) == []


@pytest.mark.usefixtures("no_alembic")
def test_an_empty_database_is_not_taken_for_one_that_is_up_to_date(database: Database) -> None:
    with pytest.raises(ImportError):
        migrate(database)
