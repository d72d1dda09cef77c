"""What a user of the database notices when the server is slow, hangs, stops, restarts or lost a table."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from app.adapters import postgres
from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.migrator import migrate
from app.adapters.postgres import Cursor, Database
from app.domain import GalleryFace
from app.errors import StartupError, StoreTimeout, StoreUnavailable
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.vector_db_service import VectorDbService
from tests.integration.galleries import BOX, policy_of, spec_of

PROBE = np.array([[1.0, 0.0, 0.0, 0.0]])


@pytest.fixture(scope="module")
def server(make_folder: Callable[[], Path]) -> Iterator[EmbeddedPostgres]:
    """A server that these tests may stop."""
    server = EmbeddedPostgres(make_folder() / "pgdata")
    server.start()
    database = Database(server.url)
    migrate(database)
    faces = [GalleryFace("Ana", "Ana/1.jpg", BOX, PROBE[0])]
    VectorDbService(database, spec_of(4)).add_faces("serbia", faces)
    database.close()
    yield server
    server.stop()


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[Database]:
    server.start()
    database = Database(lambda: server.url, pool_size=2, connect_timeout_s=2)
    yield database
    database.close()


@pytest.fixture
def gallery(database: Database) -> PgVectorRecognitionService:
    return PgVectorRecognitionService(VectorDbService(database, spec_of(4)), policy_of(0.3), timeout_s=1)


def names(gallery: PgVectorRecognitionService) -> list[str]:
    (matches,) = gallery.search("serbia", PROBE)
    return [match.person for match in matches]


def backend(cursor: Cursor) -> int:
    cursor.execute("SELECT pg_backend_pid()")
    ((pid,),) = cursor.fetchall()
    return int(pid)


def ask_backend(database: Database) -> int:
    with database.transaction(5, read_only=True) as cursor:
        return backend(cursor)


def signal_server(server: EmbeddedPostgres, number: signal.Signals) -> None:
    postmaster = psutil.Process(int((server.pgdata / "postmaster.pid").read_text().split()[0]))
    for process in [postmaster, *postmaster.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # a backend may end between the listing and the signal
            process.send_signal(number)


@pytest.fixture
def hanging(server: EmbeddedPostgres, gallery: PgVectorRecognitionService) -> Iterator[Callable[[], None]]:
    """Stops every process of the server, as a dead disk does: it accepts connections and never answers."""
    yield lambda: signal_server(server, signal.SIGSTOP)
    signal_server(server, signal.SIGCONT)


# --- the server


def test_a_restart_between_two_requests_goes_unnoticed(
    server: EmbeddedPostgres, gallery: PgVectorRecognitionService
) -> None:
    assert names(gallery) == ["Ana"]
    server.stop()
    server.start()
    assert names(gallery) == ["Ana"]


def test_a_stopped_server_is_unavailable_until_it_is_back(
    server: EmbeddedPostgres, gallery: PgVectorRecognitionService
) -> None:
    assert names(gallery) == ["Ana"]
    server.stop()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            names(gallery)
    server.start()
    assert names(gallery) == ["Ana"]


@pytest.mark.parametrize("warm", [True, False], ids=["pooled connection", "new connection"])
def test_a_hanging_server_is_a_timeout_and_holds_no_thread(
    gallery: PgVectorRecognitionService, server: EmbeddedPostgres, hanging: Callable[[], None], warm: bool
) -> None:
    if warm:
        assert names(gallery) == ["Ana"]
    threads = threading.enumerate()
    hanging()
    for _ in range(2):
        with pytest.raises(StoreTimeout):
            names(gallery)
    assert threading.enumerate() == threads
    signal_server(server, signal.SIGCONT)
    assert names(gallery) == ["Ana"]


def test_a_connection_that_dies_in_a_transaction_is_unavailable_once(database: Database) -> None:
    with pytest.raises(StoreUnavailable), database.transaction(5) as cursor:
        pid = backend(cursor)
        with database.transaction(5) as other:
            other.execute("SELECT pg_terminate_backend(%(pid)s, 2000)", {"pid": pid})
        cursor.execute("SELECT 1")
    assert ask_backend(database) != pid


def test_a_slow_statement_is_a_timeout_and_keeps_its_connection(database: Database) -> None:
    before = ask_backend(database)
    with pytest.raises(StoreTimeout), database.transaction(0.1) as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    assert ask_backend(database) == before


def test_many_quick_statements_that_take_too_long_together_are_a_timeout(database: Database) -> None:
    with pytest.raises(StoreTimeout), database.transaction(0.2) as cursor:
        for _ in range(1000):
            cursor.execute("SELECT pg_sleep(0.1)")
    assert ask_backend(database)


def test_a_dropped_table_is_unavailable_with_the_remedy(
    server: EmbeddedPostgres, database: Database, gallery: PgVectorRecognitionService
) -> None:
    assert names(gallery) == ["Ana"]
    with database.transaction(5) as cursor:
        cursor.execute("ALTER TABLE face_embeddings RENAME TO gone")
    with pytest.raises(StoreUnavailable, match=r"scripts\.migrate") as caught:
        names(gallery)
    assert caught.value.error_code == "schema_missing"
    with database.transaction(5) as cursor:
        cursor.execute("ALTER TABLE gone RENAME TO face_embeddings")
    assert names(gallery) == ["Ana"]


# --- the pool


def test_a_block_that_fails_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(KeyError), database.transaction(5) as cursor:
        cursor.execute("CREATE TABLE left_over ()")
        raise KeyError
    with database.transaction(5) as cursor:
        cursor.execute("SELECT to_regclass('left_over')")
        assert cursor.fetchone() == (None,)


def test_a_read_only_transaction_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailable), database.transaction(5, read_only=True) as cursor:
        cursor.execute("DELETE FROM persons")


def test_an_exhausted_pool_says_so_and_recovers(database: Database) -> None:
    with database.transaction(5), database.transaction(5):
        with pytest.raises(StoreUnavailable, match="DATABASE_POOL_SIZE") as caught:
            ask_backend(database)
        assert caught.value.error_code == "pool_exhausted"
    assert ask_backend(database)


def test_threads_share_the_connections_of_the_pool(database: Database) -> None:
    with ThreadPoolExecutor(8) as threads:
        backends = set(threads.map(ask_backend, [database] * 80))
    assert 1 <= len(backends) <= 2


def test_no_connection_crosses_a_fork(database: Database) -> None:
    before = ask_backend(database)
    assert in_child(lambda: ask_backend(database)) != before
    assert ask_backend(database) == before


def in_child(action: Callable[[], int]) -> int:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(action()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(reader, 100)
    os.close(reader)
    os.close(writer)
    return int(answer)


# --- what it says


@pytest.mark.parametrize(
    ("url", "kind", "reason"),
    [
        ("postgresql://app:sesame@127.0.0.1:1/faces", StoreUnavailable, "nothing listens"),
        ("postgresql://app:sesame@no-such-host.invalid/faces", StoreUnavailable, "host .* no address"),
        ("postgresql://app:sesame%zz@db.internal/faces", StartupError, "DATABASE_URL"),
        ("postgresql://app:sesame/sesame@db.internal/faces", StoreUnavailable, "Cannot connect"),
    ],
)
def test_a_refused_connection_tells_why_and_no_secret(url: str, kind: type[Exception], reason: str) -> None:
    database = Database(url)
    with pytest.raises(kind, match=reason) as caught, database.transaction(1):
        pass
    told = f"{caught.value} {caught.value.__cause__!r} {database!r}"
    assert "sesame" not in told
    assert "db.internal" not in told


@pytest.mark.parametrize(
    ("part", "reason"), [("nobody@/postgres", "no such user"), ("postgres@/nothing", "no such data")]
)
def test_an_unknown_user_or_database_is_named_as_the_reason(
    server: EmbeddedPostgres, database: Database, part: str, reason: str
) -> None:
    with pytest.raises(StoreUnavailable, match=reason):
        Database(server.url.replace("postgres@/postgres", part)).require_supported()


def test_this_server_is_supported(database: Database) -> None:
    database.require_supported()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [("OLDEST_SERVER", 99, "needs 99 or newer"), ("OLDEST_PGVECTOR", (99, 0), "pgvector .* needs 0.8")],
)
def test_an_old_server_is_refused_with_a_sentence(
    database: Database, monkeypatch: pytest.MonkeyPatch, name: str, value: object, sentence: str
) -> None:
    monkeypatch.setattr(postgres, name, value)
    with pytest.raises(StartupError, match=sentence):
        database.require_supported()
