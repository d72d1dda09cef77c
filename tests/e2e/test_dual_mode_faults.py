"""In dual mode the database may do what it likes: `/recognize` answers as in `pkl` mode and says what happened."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.bootstrap import Container
from config import Settings
from scripts import demo_faces
from tests.e2e.conftest import DUAL, PKL, Service, settings_of
from tests.e2e.test_recognize import eventually


@dataclass
class Faulty:
    """A service in dual mode, the database it shadows in, and the answer that must not change."""

    service: Service
    server: EmbeddedPostgres
    container: Container
    answer: list[dict[str, Any]]

    def ask(self) -> dict[str, Any]:
        response = self.service.recognize(demo_faces.several_faces()[0])
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        assert answer["recognized_faces"] == self.answer, "the control's answer depends on the candidate"
        return answer

    def fails_with(self, *codes: str) -> None:
        answer = self.ask()
        assert answer["mode"] == "dual"
        assert answer["pgvector_results"] == []
        assert answer["comparison"]["candidate_error"]["code"] in codes, answer["comparison"]
        assert answer["comparison"]["top1_match"] is False
        # The recorder, which finds the database away too, may say so in between.
        assert any("DUAL-MODE pgvector gave no answer" in line for line in self.service.log().splitlines()[-4:])

    def recovers(self) -> None:
        eventually(lambda: self.ask()["comparison"]["top1_match"] is True)

    def fill(self) -> None:
        matrix = self.container.pkl_snapshots.current("demo")
        self.container.migrate()
        self.container.vector_db.add_faces("demo", [matrix.face(row) for row in range(len(matrix))])
        self.container.vector_db.ensure_index("demo")

    def processes(self) -> list[psutil.Process]:
        postmaster = int((self.server.pgdata / "postmaster.pid").read_text().splitlines()[0])
        parent = psutil.Process(postmaster)
        return [parent, *parent.children(recursive=True)]


@pytest.fixture(scope="module")
def faulty(
    start_service: Callable[..., Any], storage: tuple[Path, dict[str, str]], make_folder: Callable[[], Path]
) -> Iterator[Faulty]:
    server = EmbeddedPostgres(make_folder() / "data")
    url = server.start()
    settings = settings_of(storage[0]) | {"database_url": url, "vector_db_enabled": True}
    container = Container(Settings(**settings))
    with start_service(PKL) as service:
        answer = service.recognize(demo_faces.several_faces()[0]).json()["recognized_faces"]
    limits = {"DATABASE_URL": url, "VECTOR_DB_CANDIDATE_TIMEOUT_MS": "1500"}
    faulty = Faulty(None, server, container, answer)  # type: ignore[arg-type]
    faulty.fill()
    with start_service(DUAL | limits) as service:
        faulty.service = service
        faulty.recovers()
        yield faulty
    container.close()
    server.stop()


def test_a_stopped_database_changes_nothing_and_is_used_again_when_it_is_back(faulty: Faulty) -> None:
    faulty.server.stop()
    faulty.fails_with("store_unavailable")
    faulty.server.start()
    faulty.recovers()


def test_a_database_that_hangs_is_left_behind_at_the_limit(faulty: Faulty) -> None:
    stopped = faulty.processes()
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(6):
            faulty.fails_with("candidate_timeout", "store_timeout", "store_unavailable", "pool_exhausted")
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
    faulty.recovers()


def test_an_empty_database_is_said_to_lack_the_domain(faulty: Faulty) -> None:
    with faulty.container.database.transaction(10) as cursor:
        cursor.execute("TRUNCATE persons CASCADE")
    for _ in range(4):  # each worker may know of the domain for a moment yet
        eventually(lambda: (faulty.ask()["comparison"].get("candidate_error") or {}).get("code") == "unknown_domain")
    faulty.fill()
    faulty.recovers()


def test_a_dropped_table_is_an_error_of_the_candidate_alone(faulty: Faulty) -> None:
    with faulty.container.database.transaction(10) as cursor:
        cursor.execute("DROP SCHEMA public, procrastinate CASCADE")
        cursor.execute("CREATE SCHEMA public")
    faulty.fails_with("store_unavailable", "schema_missing")
    faulty.fill()
    faulty.recovers()
