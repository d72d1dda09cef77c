"""The schema: made once whoever starts first, rolled back where it fails, and as operators and runbooks expect it."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.adapters.migrator import MIGRATIONS, migrate, pending_migrations, require_migrated
from app.adapters.postgres import Database
from app.errors import StartupError, StoreUnavailable

# As the contract has it, to the letter.
CONTRACT_SQL = """
SELECT domain, COUNT(DISTINCT p.id) AS persons, COUNT(f.id) AS embeddings
FROM persons p LEFT JOIN face_embeddings f ON p.id = f.person_id
GROUP BY domain;
"""
FILL = """
INSERT INTO embedding_specs (key, document, dimensions) VALUES ('a', '{}', 2), ('b', '{}', 3);
INSERT INTO persons (domain, name) VALUES ('serbia', 'Ana'), ('serbia', 'Bojan'), ('slovenia', 'Ana')
"""
ADD_FACE = """
INSERT INTO face_embeddings (person_id, person_domain, spec_id, image, box_x, box_y, box_w, box_h, embedding)
VALUES (%(person)s, %(domain)s, 1, %(image)s, 1, 2, 3, 4, %(embedding)s)
"""
FACE = {"person": 1, "domain": "serbia", "image": "1.jpg", "embedding": "[1,0]"}


def run(database: Database, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with database.transaction(10) as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if statement.lstrip().startswith("SELECT") else []


@pytest.fixture
def filled(migrated_database: Database) -> Database:
    run(migrated_database, FILL)
    return migrated_database


def test_an_empty_database_gets_the_schema_and_a_second_run_does_nothing(database: Database) -> None:
    titles = pending_migrations(database)
    assert titles[0].startswith("0001 ")
    with pytest.raises(StartupError, match=r"0001 .*scripts\.migrate"):
        require_migrated(database)
    assert migrate(database) == titles
    assert migrate(database) == []
    require_migrated(database)
    assert run(database, CONTRACT_SQL.strip()) == []


def test_of_two_starters_at_the_same_time_one_migrates(database: Database) -> None:
    with ThreadPoolExecutor(4) as threads:
        applied = sorted(threads.map(migrate, [database] * 4))
    assert [len(titles) for titles in applied] == [0, 0, 0, len(applied[-1])]
    assert applied[-1]


def test_a_migration_that_fails_half_way_is_undone_and_those_before_it_stay(database: Database, tmp_path: Path) -> None:
    newest = pending_migrations(database)[-1].split()[0]
    folder = with_a_broken_migration(tmp_path / "100% migrations", after=newest)
    with pytest.raises(StartupError, match="rolled back: division by zero"):
        migrate(database, folder)
    assert run(database, "SELECT to_regclass('persons') IS NULL, to_regclass('half_made') IS NULL") == [(False, True)]
    assert pending_migrations(database, folder) == ["9999 broken."]
    assert migrate(database) == []


def with_a_broken_migration(folder: Path, after: str) -> Path:
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "m9999_broken.py").write_text(
        '"""broken."""\n'
        "from alembic import op\n"
        f"revision, down_revision = '9999', '{after}'\n"
        "def upgrade():\n"
        "    op.execute('CREATE TABLE half_made ()')\n"
        "    op.execute('SELECT 1 / 0')\n"
    )
    return folder


def test_a_schema_of_a_newer_version_is_left_alone(migrated_database: Database) -> None:
    run(migrated_database, "UPDATE alembic_version SET version_num = '9999'")
    for refused in (migrate, require_migrated):
        with pytest.raises(StartupError, match="newer version"):
            refused(migrated_database)


def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        migrate(Database("postgresql://app:sesame@127.0.0.1:1/faces"))


def test_the_contracts_sql_counts_every_domain(filled: Database) -> None:
    run(filled, ADD_FACE, **FACE)
    run(filled, ADD_FACE, **FACE | {"image": "2.jpg"})
    assert sorted(run(filled, CONTRACT_SQL.strip())) == [("serbia", 2, 2), ("slovenia", 1, 0)]


def test_a_deleted_person_takes_the_faces_along(filled: Database) -> None:
    run(filled, ADD_FACE, **FACE)
    run(filled, "DELETE FROM persons WHERE id = 1")
    assert run(filled, "SELECT count(*) FROM face_embeddings") == [(0,)]


def test_a_person_who_moves_to_another_domain_takes_the_faces_along(filled: Database) -> None:
    run(filled, ADD_FACE, **FACE)
    run(filled, "UPDATE persons SET domain = 'croatia' WHERE id = 1")
    assert run(filled, "SELECT person_domain FROM face_embeddings") == [("croatia",)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"domain": "slovenia"},  # not the person's
        {"embedding": "[1,0,0]"},  # not the spec's dimensions
        {"embedding": "[0,0]"},  # no direction
        {"image": ""},
    ],
)
def test_a_face_that_contradicts_its_person_or_spec_is_refused(filled: Database, wrong: dict[str, str]) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        run(filled, ADD_FACE, **FACE | wrong)
    assert caught.value.details["sqlstate"].startswith("23")


def test_a_face_of_one_image_and_box_is_there_once(filled: Database) -> None:
    run(filled, ADD_FACE, **FACE)
    with pytest.raises(StoreUnavailable):
        run(filled, ADD_FACE, **FACE)


def test_vectors_of_512_numbers_are_kept_in_the_row(filled: Database) -> None:
    run(filled, "INSERT INTO embedding_specs (key, document, dimensions) VALUES ('c', '{}', 512)")
    run(filled, ADD_FACE.replace(" 1, %(image)s", " 3, %(image)s"), **FACE | {"embedding": str([0.1] * 512)})
    toast = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'face_embeddings'"
    assert run(filled, toast) == [(0,)]
