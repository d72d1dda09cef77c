"""The acceptance test passes on a sound database, and each fault makes the line fail that tells what to do."""

from __future__ import annotations

from typing import Any

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.postgres import Database
from scripts.test_vector_db import main
from tests.integration.galleries import make_up
from tests.integration.gallery_host import GalleryHost, set_environment

LINES = {"connection", "extension", "migrations", "spec", "orphans", "duplicates", "vectors", "dimensions", "persons"}
OF_DOMAIN = {"counts", "index", "plan", "recall", "time"}


@pytest.fixture
def filled(host: GalleryHost) -> GalleryHost:
    """A domain that is searched through its index, and one that is small."""
    container = host.container()
    container.vector_db.add_faces("serbia", make_up([3] * 60).faces)
    container.vector_db.add_faces("slovenia", make_up([2, 2]).faces)
    container.vector_db.ensure_index("serbia")
    container.vector_db.ensure_index("slovenia")
    container.close()
    return host


def execute(host: GalleryHost, *statements: str) -> None:
    with host.database.transaction(10) as cursor:
        for statement in statements:
            cursor.execute(statement)


def lines(host: GalleryHost, *arguments: str) -> dict[tuple[str, str | None], dict[str, Any]]:
    """The lines by name and domain; time is not judged, because the machine of a test may be slow."""
    code, result = host.run_json(main, "--probes", "20", "--max-p95-ms", "60000", *arguments)
    assert result["passed"] == (code == 0) == all(line["passed"] for line in result["checks"])
    return {(line["name"], line["domain"]): line for line in result["checks"]}


def failed(host: GalleryHost) -> set[str]:
    seen = lines(host)
    assert all(bool(line["advice"]) != line["passed"] for line in seen.values()), "advice stands where a check failed"
    return {name for (name, _), line in seen.items() if not line["passed"]}


def test_a_sound_database_passes_every_check(filled: GalleryHost) -> None:
    seen = lines(filled)
    assert all(line["passed"] for line in seen.values())
    assert {name for name, domain in seen if domain is None} == LINES
    assert {name for name, domain in seen if domain == "serbia"} == OF_DOMAIN
    assert seen["counts", "serbia"]["figure"] == "60 persons, 180 faces"
    assert "recall 1.0000 (95 %: 0.96" in seen["recall", "serbia"]["figure"]


def test_the_plan_tells_whether_the_index_is_used_or_passed_over_by_choice(filled: GalleryHost) -> None:
    seen = lines(filled)
    assert seen["plan", "serbia"]["figure"] == "the index is used: images, ef_search 200"
    assert "by choice" in seen["plan", "slovenia"]["figure"]


def test_the_table_is_for_people(filled: GalleryHost) -> None:
    code, printed = filled.run(main, "--domain", "serbia", "--probes", "5", "--max-p95-ms", "60000")
    assert code == 0
    assert "14 of 14 checks passed." in printed


def test_a_domain_that_nobody_filled_fails(filled: GalleryHost) -> None:
    assert not lines(filled, "--domain", "atlantis")["counts", "atlantis"]["passed"]


def test_a_database_without_faces_fails(host: GalleryHost) -> None:
    assert failed(host) == {"counts"}


def test_a_missing_index_fails(filled: GalleryHost) -> None:
    container = filled.container()
    container.vector_db.add_faces("croatia", make_up([1] * 5).faces)
    container.close()
    assert failed(filled) == {"index"}


FAULTS = {
    "orphans": (
        "ALTER TABLE face_embeddings DROP CONSTRAINT face_embeddings_person_id_person_domain_fkey",
        "DELETE FROM persons WHERE domain = 'serbia' AND name = 'Person 0001'",
    ),
    "persons": ("INSERT INTO persons (domain, name) VALUES ('serbia', 'Nobody')",),
    "duplicates": (
        "ALTER TABLE face_embeddings DROP CONSTRAINT face_embeddings_spec_id_person_domain_image_box_x_box_y_box_key",
        "INSERT INTO face_embeddings"
        " (person_id, person_domain, spec_id, image, box_x, box_y, box_w, box_h, embedding)"
        " SELECT person_id, person_domain, spec_id, image, box_x, box_y, box_w, box_h, embedding"
        " FROM face_embeddings LIMIT 3",
    ),
    "vectors": (
        "ALTER TABLE face_embeddings DROP CONSTRAINT face_embeddings_embedding_check",
        "UPDATE face_embeddings SET embedding = embedding - embedding WHERE image LIKE '%0000/%'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_the_rows_fails_the_line_that_is_about_it(filled: GalleryHost, fault: str) -> None:
    execute(filled, *FAULTS[fault])
    assert fault in failed(filled)


def test_faces_of_another_spec_fail(filled: GalleryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACE_WEIGHTS_SHA256", "cd" * 32)
    container = filled.container()
    container.vector_db.add_faces("croatia", make_up([1] * 5).faces)
    container.vector_db.ensure_index("croatia")
    container.close()
    seen = lines(filled)
    assert not seen["spec", None]["passed"]
    assert "serbia: 180 faces of another spec" in seen["spec", None]["figure"]


def test_a_pending_migration_ends_the_test_before_it_asks_for_what_is_not_there(
    host: GalleryHost, database: Database, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(host.folder, database, postgres, monkeypatch)
    execute(GalleryHost(host.folder, database, host.capture), "CREATE EXTENSION vector")
    seen = lines(host)
    assert [name for (name, _), line in seen.items() if not line["passed"]] == ["migrations"]
    assert "scripts.migrate" in seen["migrations", None]["advice"]


def test_a_database_that_is_away_fails_with_the_reason(host: GalleryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    code, printed = host.run(main)
    assert code == 1
    assert "nothing listens there" in printed
    assert "secret" not in printed
