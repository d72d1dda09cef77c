"""A real Postgres with pgvector for the tests: one embedded server per session, a database of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.migrator import migrate
from app.adapters.postgres import Database
from tests.integration.gallery_host import GalleryHost, set_environment, url_of
from tests.integration.milvus_server import MilvusServer

if TYPE_CHECKING:
    from tests.integration.video_api import VideoApi

TEMPLATE = "migrated_template"

MakeDatabase = Callable[..., Database]
OpenVideoApi = Callable[..., "VideoApi"]


@pytest.fixture(scope="session")
def postgres(make_folder: Callable[[], Path]) -> Iterator[EmbeddedPostgres]:
    """A running server with a template database whose schema is up to date."""
    server = EmbeddedPostgres(make_folder() / "pgdata")
    server.start()
    template = _create(server, TEMPLATE, "template0")
    migrate(template)
    template.close()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def make_database(postgres: EmbeddedPostgres) -> Iterator[MakeDatabase]:
    """Makes a database, migrated or (template0) empty, and opens it."""
    numbers = count()
    opened: list[Database] = []

    def make(template: str = TEMPLATE, pool_size: int = 4) -> Database:
        opened.append(_create(postgres, f"test_{next(numbers)}", template, pool_size))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def database(make_database: MakeDatabase) -> Iterator[Database]:
    """An empty database."""
    opened = make_database("template0")
    yield opened
    opened.close()


@pytest.fixture
def migrated_database(make_database: MakeDatabase) -> Iterator[Database]:
    """A database with the schema and nothing in it."""
    opened = make_database()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """A running Milvus Lite server; each test takes a collection of its own."""
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    server.start()
    yield server
    server.close()


def _create(server: EmbeddedPostgres, name: str, template: str, pool_size: int = 4) -> Database:
    connection = Database(server.url).connect()
    connection.cursor().execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    connection.close()
    return Database(lambda: server.url.replace("@/postgres?", f"@/{name}?"), pool_size)


@pytest.fixture
def host(
    tmp_path: Path,
    migrated_database: Database,
    postgres: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> GalleryHost:
    """A storage folder and a database, for commands that are called as an operator calls them."""
    set_environment(tmp_path, migrated_database, postgres, monkeypatch)
    return GalleryHost(tmp_path, migrated_database, capsys)


@pytest.fixture
def open_video_api(tmp_path: Path, migrated_database: Database, postgres: EmbeddedPostgres) -> Iterator[OpenVideoApi]:
    """Opens the web application, with settings of the test's."""
    from tests.integration.video_api import open_api

    opened: list[VideoApi] = []

    def make(**settings: object) -> VideoApi:
        opened.append(open_api(tmp_path / "storage", url_of(migrated_database, postgres), **settings))
        return opened[-1]

    yield make
    for api in opened:
        api.container.close()


@pytest.fixture
def video_api(open_video_api: OpenVideoApi) -> VideoApi:
    """The web application, as it is set by default."""
    return open_video_api()


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A short video."""
    from tests.integration.video_api import make_video

    return make_video(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="session")
def other_video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Another one."""
    from tests.integration.video_api import make_video

    return make_video(tmp_path_factory.mktemp("film") / "other.mp4", seed=1)
