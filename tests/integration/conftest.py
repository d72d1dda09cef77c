"""A real Postgres with pgvector for the tests: one embedded server per session, a database of its own for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.migrator import migrate
from app.adapters.postgres import Database

TEMPLATE = "migrated_template"
_numbers = count()


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that the server's account can reach: pytest's own is closed again by the next session."""
    folder = Path(tempfile.mkdtemp(prefix="facerec-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """The running server, with a template database whose schema is up to date."""
    server = EmbeddedPostgres(server_folder / "pgdata")
    server.start()
    _create(server, TEMPLATE, "template0")
    with_template = Database(_url(server, TEMPLATE))
    migrate(with_template)
    with_template.close()
    yield server
    server.stop()


@pytest.fixture
def make_database(postgres: EmbeddedPostgres) -> Iterator[Callable[..., Database]]:
    """Makes a database, empty or migrated, and opens it."""
    opened: list[Database] = []

    def make(template: str = TEMPLATE, pool_size: int = 4) -> Database:
        name = f"test_{next(_numbers)}"
        _create(postgres, name, template)
        opened.append(Database(lambda: _url(postgres, name), pool_size))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def database(make_database: Callable[..., Database]) -> Database:
    """An empty database."""
    return make_database("template0")


@pytest.fixture
def migrated_database(make_database: Callable[..., Database]) -> Database:
    """A database with the schema and nothing in it."""
    return make_database()


def _url(server: EmbeddedPostgres, name: str) -> str:
    return server.url.replace("@/postgres?", f"@/{name}?")


def _create(server: EmbeddedPostgres, name: str, template: str) -> None:
    connection = Database(server.url).connect()
    connection.cursor().execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    connection.close()
