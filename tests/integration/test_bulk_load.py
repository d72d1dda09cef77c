"""The bulk load: what it leaves in the database is what `VectorDbService.add_faces` would have left there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.adapters.postgres import Database
from app.domain import EmbeddingSpec, FaceBox, GalleryFace
from app.errors import BadRequest, SpecMismatch, StoreTimeout, StoreUnavailable
from app.services.transfer.bulk_load import BulkLoader
from app.services.vector_db_service import AddReport, VectorDbService
from tests.integration.galleries import make_up, spec_of

DOMAIN = "serbia"
SPEC = spec_of(64)
ROWS = """
SELECT p.domain, p.name, f.image, f.image_sha256, f.box_x, f.box_y, f.box_w, f.box_h, f.embedding::text
FROM face_embeddings AS f JOIN persons AS p ON p.id = f.person_id ORDER BY f.image, f.box_x
"""


@pytest.fixture
def loader(migrated_database: Database) -> BulkLoader:
    return BulkLoader(migrated_database, SPEC)


def face(person: str = "Ana", image: str = "Ana/1.jpg", seed: int = 0, sha256: str | None = None) -> GalleryFace:
    embedding = np.random.default_rng(seed).normal(size=SPEC.dimensions)
    return GalleryFace(person, image, FaceBox(1, 2, 30, 40), embedding, sha256)


def load(loader: BulkLoader, *faces: GalleryFace) -> AddReport:
    with loader.transaction(60) as cursor:
        return loader.load(cursor, DOMAIN, faces)


def stored(database: Database) -> list[tuple[Any, ...]]:
    with database.transaction(10, read_only=True) as cursor:
        cursor.execute(ROWS)
        return cursor.fetchall()


def test_faces_loaded_in_bulk_are_those_added_one_statement_at_a_time(
    make_database: Any, migrated_database: Database
) -> None:
    faces = make_up([5, 1, 30], dimensions=SPEC.dimensions).faces
    odd = [face("Đorđe O'Brien", "a\tb\\N'\".jpg", 1, "ab" * 32), face("王小明", "\\.", 2)]
    one_by_one = make_database()
    VectorDbService(one_by_one, SPEC).add_faces(DOMAIN, [*faces, *odd])

    report = load(BulkLoader(migrated_database, SPEC), *faces, *odd)

    assert report == AddReport(inserted=38, updated=0, unchanged=0, left_out=0)
    assert stored(migrated_database) == stored(one_by_one)


def test_loading_twice_changes_nothing(loader: BulkLoader, migrated_database: Database) -> None:
    faces = [face(image=f"Ana/{i}.jpg", seed=i) for i in range(5)]
    load(loader, *faces)
    before = stored(migrated_database)

    assert load(loader, *faces) == AddReport(inserted=0, updated=0, unchanged=5, left_out=0)
    assert stored(migrated_database) == before


def test_another_vector_or_person_replaces_what_is_stored(loader: BulkLoader, migrated_database: Database) -> None:
    load(loader, face(image="1.jpg"), face(image="2.jpg"), face(image="3.jpg"))

    report = load(loader, face(image="1.jpg", seed=9), face("Bojan", "2.jpg"), face(image="3.jpg"))

    assert report == AddReport(inserted=0, updated=2, unchanged=1, left_out=0)
    assert [row[1] for row in stored(migrated_database)] == ["Ana", "Bojan", "Ana"]


@pytest.mark.parametrize(("seed", "kept"), [(0, "ab" * 32), (1, None)])
def test_a_known_hash_of_an_image_outlives_a_load_that_knows_none_unless_the_vector_changed(
    loader: BulkLoader, migrated_database: Database, seed: int, kept: str | None
) -> None:
    load(loader, face(sha256="ab" * 32))
    load(loader, face(seed=seed))
    assert [row[3] for row in stored(migrated_database)] == [kept]


def test_faces_that_cannot_be_stored_are_left_out_and_counted(loader: BulkLoader) -> None:
    zero, infinite = (replace(face(), embedding=np.full(SPEC.dimensions, number)) for number in (0.0, 1e300))
    unwritable = [face(image="nul\0.jpg"), face(image="half \udcff.jpg")]
    first, last = face(seed=3), face(seed=4)

    report = load(loader, zero, infinite, *unwritable, first, last)

    assert report == AddReport(inserted=1, updated=0, unchanged=0, left_out=5)
    assert load(loader, last) == AddReport(inserted=0, updated=0, unchanged=1, left_out=0)


def test_several_loads_are_committed_together_or_not_at_all(loader: BulkLoader, migrated_database: Database) -> None:
    with pytest.raises(SpecMismatch), loader.transaction() as cursor:
        loader.load(cursor, DOMAIN, [face()])
        loader.load(cursor, DOMAIN, [])
        loader.load(cursor, DOMAIN, [replace(face(), embedding=np.ones(3))])
    assert stored(migrated_database) == []


def test_a_name_that_no_domain_can_have_is_refused(loader: BulkLoader) -> None:
    with pytest.raises(BadRequest), loader.transaction() as cursor:
        loader.load(cursor, "../serbia", [face()])


def test_after_a_bulk_load_deadlines_hold_again(loader: BulkLoader, migrated_database: Database) -> None:
    load(loader, face())
    with pytest.raises(StoreTimeout), migrated_database.transaction(0.2) as cursor:
        cursor.execute("SELECT pg_sleep(30)")


def test_a_bulk_statement_that_takes_too_long_is_ended_by_the_server(loader: BulkLoader) -> None:
    with pytest.raises(StoreTimeout), loader.transaction(0.2) as cursor:
        cursor.execute("SELECT pg_sleep(30)")


def test_a_database_that_is_away_is_told_in_a_sentence() -> None:
    away = BulkLoader(Database("postgresql://nobody@127.0.0.1:1/none"), SPEC)
    with pytest.raises(StoreUnavailable, match="nothing listens there"), away.transaction():
        pass


def test_a_model_whose_vectors_cannot_be_indexed_is_refused(migrated_database: Database) -> None:
    from app.errors import StartupError

    large: EmbeddingSpec = spec_of(4096, "VGG-Face")
    loader = BulkLoader(migrated_database, large)
    with pytest.raises(StartupError, match="4096"), loader.transaction() as cursor:
        loader.load(cursor, DOMAIN, [replace(face(), embedding=np.ones(4096))])
