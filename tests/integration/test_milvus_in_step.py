"""What changes in Postgres is found through Milvus at once, and is in Milvus in the end, whatever fails on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from app.adapters.postgres import Database
from app.domain import EmbeddingSpec, GalleryFace
from app.errors import StoreUnavailable
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.transfer.bulk_load import BulkLoader
from tests.integration.galleries import make_up, policy_of, spec_of
from tests.integration.milvus_server import MilvusServer, Mirrored, mirrored
from tests.integration.people_world import DOMAIN, POLICY, SCOPE, SPEC, World, axis, enrolled, photo

OUTBOX = "SELECT count(*) FROM mirror_outbox"


@pytest.fixture
def parts(milvus: MilvusServer, migrated_database: Database) -> Mirrored:
    return mirrored(milvus, migrated_database, SPEC)


@pytest.fixture
def world(tmp_path: Path, migrated_database: Database, parts: Mirrored) -> Iterator[World]:
    """Ana and Bojan in the PKL, in Postgres and in Milvus; `who` compares the PKL's answer with Milvus's."""
    world = World(tmp_path, migrated_database, parts.outbox.follow)
    world.fill(enrolled("Ana", 0), enrolled("Ana", 1, "2.jpg"), enrolled("Bojan", 2))
    parts.copy()
    world.pgvector = PgVectorRecognitionService(parts.gallery, POLICY, timeout_s=10)
    yield world
    world.live.close()


def held(parts: Mirrored) -> int:
    """How many faces Milvus itself has."""
    return sum(len(page) for page in parts.index.face_ids(None))


def noted(database: Database) -> int:
    with database.transaction(10, read_only=True) as cursor:
        cursor.execute(OUTBOX)
        ((count,),) = cursor.fetchall()
    return int(count)


def add(database: Database, *faces: GalleryFace, spec: EmbeddingSpec = SPEC) -> None:
    """As the scripts do, who know nothing of Milvus."""
    loader = BulkLoader(database, spec)
    with loader.transaction() as cursor:
        loader.load(cursor, DOMAIN, faces)


def people(parts: Mirrored, i: int) -> list[str]:
    service = PgVectorRecognitionService(parts.gallery, POLICY, timeout_s=10)
    (matches,) = service.search(DOMAIN, axis(i)[np.newaxis])
    return [match.person for match in matches]


def test_everything_that_can_be_done_to_a_person_shows_through_milvus_as_in_the_pkl(
    world: World, parts: Mirrored
) -> None:
    world.persons.add(SCOPE, "Ceca", [photo(5), photo(6)])
    assert (world.who(5), held(parts)) == (("Ceca", photo(5).image_of("Ceca")), 5)
    world.persons.rename(SCOPE, world.id_of("Ana"), "Anna")
    assert world.who(1) == ("Anna", "Anna/2.jpg")
    merge = world.merging.merge(SCOPE, world.id_of("Ceca"), world.id_of("Bojan"))
    assert world.who(6) == ("Bojan", photo(6).image_of("Bojan"))
    assert held(parts) == 5
    world.merging.undo(SCOPE, merge.id)
    assert world.who(6) == ("Ceca", photo(6).image_of("Ceca"))
    assert held(parts) == 5
    assert parts.outbox.backlog().changes == 0


def test_a_deleted_person_is_gone_from_milvus_when_the_receipt_is_complete(world: World, parts: Mirrored) -> None:
    receipt = world.deletion.delete(SCOPE, world.id_of("Ana"))
    assert receipt.completed_at is not None
    assert (world.who(0), held(parts)) == (None, 1)


def test_people_change_while_milvus_is_down_and_milvus_follows_when_it_is_back(
    world: World, parts: Mirrored, milvus: MilvusServer
) -> None:
    milvus.kill()
    try:
        world.persons.add(SCOPE, "Ceca", [photo(5)])
        receipt = world.deletion.delete(SCOPE, world.id_of("Ana"))
        assert receipt.completed_at is None, "Milvus still has the vectors"
        with pytest.raises(StoreUnavailable):
            world.who(5)
    finally:
        milvus.start()
    assert [world.who(i) for i in (0, 5)] == [None, ("Ceca", photo(5).image_of("Ceca"))]
    parts.copy()
    assert (held(parts), parts.outbox.backlog().changes) == (2, 0)


def test_a_face_is_found_before_milvus_knows_it_and_by_every_worker(
    world: World, parts: Mirrored, milvus: MilvusServer
) -> None:
    add(world.database, enrolled("Ceca", 5), enrolled("Bojan", 6, "2.jpg"))
    other_worker = mirrored(milvus, world.database, SPEC, parts.index.collection)
    assert (people(other_worker, 5), people(other_worker, 6), people(other_worker, 2)) == (
        ["Ceca"],
        ["Bojan"],
        ["Bojan"],
    )


def test_a_face_that_milvus_has_just_taken_over_is_still_measured_in_postgres(world: World, parts: Mirrored) -> None:
    add(world.database, enrolled("Ceca", 5))
    assert parts.outbox.follow()
    with world.database.transaction(10) as cursor:
        cursor.execute("SELECT f.id FROM face_embeddings f JOIN persons p ON p.id = f.person_id WHERE p.name = 'Ceca'")
        ((face_id,),) = cursor.fetchall()
    parts.index.delete([face_id], 10)  # as a replica that lags behind does not show it yet
    assert people(parts, 5) == ["Ceca"]


def test_what_was_left_behind_by_a_crash_is_brought_by_whoever_looks_next(world: World, parts: Mirrored) -> None:
    add(world.database, enrolled("Ceca", 5))  # its writer dies before it tells Milvus
    assert held(parts) == 3
    assert parts.outbox.follow()
    assert (held(parts), people(parts, 5)) == (4, ["Ceca"])


def test_a_change_that_is_rolled_back_is_not_noted(world: World) -> None:
    before = noted(world.database)
    with pytest.raises(ZeroDivisionError), world.database.transaction(10) as cursor:
        cursor.execute("DELETE FROM persons")
        raise ZeroDivisionError
    assert noted(world.database) == before
    assert world.who(0) == ("Ana", "Ana/1.jpg")


def test_nothing_is_noted_while_no_milvus_is_registered(tmp_path: Path, migrated_database: Database) -> None:
    world = World(tmp_path, migrated_database)
    world.fill(enrolled("Ana", 0))
    world.persons.add(SCOPE, "Ceca", [photo(5)])
    world.live.close()
    assert noted(migrated_database) == 0


def test_faces_of_another_spec_stay_out_of_the_collection(world: World, parts: Mirrored) -> None:
    other = spec_of(64, model="Facenet")
    add(world.database, *make_up([2], dimensions=64).faces, spec=other)
    parts.outbox.follow()
    assert held(parts) == 3


@pytest.mark.slow
@pytest.mark.parametrize("images", [[1000] * 29, [3] * 400], ids=["29 persons x 1,000 images", "400 persons x 3"])
def test_the_five_best_are_those_of_an_exact_search(
    milvus: MilvusServer, migrated_database: Database, images: Sequence[int]
) -> None:
    made_up, policy = make_up(images), policy_of(0.68)
    parts = mirrored(milvus, migrated_database, spec_of(128))
    add(migrated_database, *made_up.faces, spec=spec_of(128))
    parts.copy()
    service = PgVectorRecognitionService(parts.gallery, policy, timeout_s=60)
    assert service.search(DOMAIN, made_up.probes[:20]) == made_up.answers(policy)[:20]
