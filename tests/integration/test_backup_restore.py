"""A backup under running writes, restored into a second server; and everything that has to be refused on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.pg_tools import PgTools
from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.writer import write_pkl
from app.adapters.postgres import Database
from app.domain import GalleryFace
from app.errors import Conflict, StartupError, StoreUnavailable
from app.services.backup.restore_service import RestoreOptions
from tests.integration.backup_house import SERBIA, SLOVENIA, SPEC, House, LateTools, faces_of, old_programs


@pytest.fixture
def house(migrated_database: Database, tmp_path: Path) -> House:
    made = House(migrated_database, tmp_path / "first")
    made.fill()
    return made


@pytest.fixture(scope="module")
def second_server(make_folder: Callable[[], Path]) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(make_folder() / "pgdata")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def second_house(second_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[House]:
    """Another machine: a server with nothing in it, and no files."""
    database = Database(second_server.url)
    yield House(database, tmp_path / "second")
    with database.transaction(10) as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS procrastinate CASCADE; CREATE SCHEMA public")
    database.close()


def test_a_backup_under_running_writes_comes_back_exactly_in_a_second_server(house: House, second_house: House) -> None:
    with house.being_written():
        report = house.back_up(tools=LateTools(house))
    checks = second_house.restore(report.path)
    assert all(check.passed for check in checks.values()), checks
    facts = report.manifest.database
    assert facts is not None
    assert second_house.counts() == {domain: count.embeddings for domain, count in facts.domains.items()}
    assert facts.tables["face_embeddings"] == sum(second_house.counts().values())
    assert house.counts()["serbia"] > second_house.counts()["serbia"] > len(SERBIA)


def test_the_restored_database_searches_by_its_indexes_and_takes_new_faces(house: House, second_house: House) -> None:
    second_house.restore(house.back_up().path)
    with second_house.database.transaction(10, read_only=True) as cursor:
        cursor.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")
        assert cursor.fetchall() == [(2,)]
    report = second_house.vector_db.add_faces("serbia", faces_of("Newcomer", 2, 5))
    assert report.inserted == 2
    assert second_house.vector_db.add_faces("serbia", SERBIA).unchanged == len(SERBIA)


def test_pkl_photos_and_tokens_come_back_and_the_pkl_answers_as_the_database(house: House, second_house: House) -> None:
    report = house.back_up(photos=True)
    checks = second_house.restore(report.path, RestoreOptions(galleries=True, photos=True, tokens=True))
    assert all(check.passed for check in checks.values()), checks
    assert checks["PKL serbia"].figure == "5 of 5 faces found themselves"
    assert (second_house.places.galleries / "slovenia" / "Oseba 0" / "0.jpg").read_bytes() == b"photo"
    assert second_house.places.tokens.read_text() == house.places.tokens.read_text()


def test_a_pkl_that_answers_otherwise_than_the_database_fails_the_restore(house: House, second_house: House) -> None:
    wrong = [GalleryFace(f.person, f.image, f.box, -f.embedding) for f in SERBIA]
    root = house.places.galleries / "serbia"
    write_pkl(root / pkl_names(SPEC)[0], wrong, root)
    checks = second_house.restore(house.back_up().path, RestoreOptions(galleries=True))
    assert not checks["PKL serbia"].passed
    assert checks["PKL slovenia"].passed


def test_a_face_that_only_the_database_held_does_not_fail_the_pkl(house: House, second_house: House) -> None:
    root = house.places.galleries / "slovenia"
    write_pkl(root / pkl_names(SPEC)[0], SLOVENIA[:1], root)
    checks = second_house.restore(house.back_up().path, RestoreOptions(galleries=True))
    assert checks["PKL slovenia"].passed
    assert "only in the database" in checks["PKL slovenia"].figure


def test_a_database_that_is_not_empty_is_refused_with_what_is_there(house: House) -> None:
    backup = house.back_up().path
    with pytest.raises(Conflict, match=r"not empty \(rows: embedding_specs 1, face_embeddings 68, persons 24"):
        house.restore(backup)
    assert house.counts() == {"serbia": 60, "slovenia": 8}


def test_force_puts_the_database_back_to_the_backup(house: House) -> None:
    backup = house.back_up().path
    house.vector_db.add_faces("serbia", faces_of("Newcomer", 2, 5))
    checks = house.restore(backup, RestoreOptions(force=True))
    assert all(check.passed for check in checks.values()), checks
    assert house.counts() == {"serbia": 60, "slovenia": 8}


def test_a_migrated_database_without_rows_counts_as_empty(
    house: House, make_database: Callable[..., Database], tmp_path: Path
) -> None:
    checks = House(make_database(), tmp_path / "third").restore(house.back_up().path)
    assert all(check.passed for check in checks.values()), checks


def test_a_database_whose_administrator_made_the_extension_counts_as_empty(
    house: House, database: Database, tmp_path: Path
) -> None:
    with database.transaction(10) as cursor:
        cursor.execute("CREATE EXTENSION vector; CREATE TABLE alembic_version (version_num varchar(32))")
    checks = House(database, tmp_path / "third").restore(house.back_up().path)
    assert all(check.passed for check in checks.values()), checks


def test_tables_that_the_backup_does_not_know_are_never_dropped(house: House) -> None:
    backup = house.back_up().path
    with house.database.transaction(10) as cursor:
        cursor.execute("CREATE TABLE of_a_newer_version (person_id bigint REFERENCES persons (id))")
    with pytest.raises(Conflict, match=r"does not know.*of_a_newer_version"):
        house.restore(backup, RestoreOptions(force=True))
    assert house.counts() == {"serbia": 60, "slovenia": 8}


def test_a_restore_that_fails_half_way_leaves_the_database_as_it_was(house: House) -> None:
    backup = house.back_up().path
    with house.database.transaction(10) as cursor:
        cursor.execute("CREATE VIEW in_the_way AS SELECT id FROM persons")
    with pytest.raises(StoreUnavailable, match=r"pg_restore .* failed and said"):
        house.restore(backup, RestoreOptions(force=True))
    assert house.counts() == {"serbia": 60, "slovenia": 8}


def test_a_truncated_dump_never_reaches_a_database(house: House, second_house: House) -> None:
    backup = house.back_up().path
    os.truncate(backup / "database.dump", (backup / "database.dump").stat().st_size // 2)
    with pytest.raises(Conflict, match=r"database\.dump has [0-9]+ bytes instead of"):
        second_house.restore(backup)
    with second_house.database.transaction(10, read_only=True) as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert cursor.fetchall() == [(0,)]


def test_an_empty_database_and_no_galleries_can_be_saved_and_restored(
    database: Database, second_house: House, tmp_path: Path
) -> None:
    checks = second_house.restore(House(database, tmp_path / "empty").back_up().path)
    assert all(check.passed for check in checks.values()), checks


def test_a_pg_dump_older_than_the_server_is_refused_and_nothing_is_kept(house: House, tmp_path: Path) -> None:
    tools = PgTools([old_programs(tmp_path / "old")])
    with pytest.raises(
        StartupError, match=r"Postgres 18 needs a pg_dump of version 18 or newer, and there is 9\.6\.24"
    ):
        house.back_up(tools=tools)
    assert [path.name for path in house.backups.path.iterdir()] == [".lock"]


def test_a_second_backup_at_the_same_time_is_refused(house: House) -> None:
    with house.backups.locked(), pytest.raises(Conflict, match="Another backup is being made"):
        house.back_up()
