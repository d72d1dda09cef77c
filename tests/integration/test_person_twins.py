"""Persons who may be the same one, and pictures of faces, on a real database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.adapters.gallery_files import GalleryFiles
from app.adapters.postgres import Database
from app.domain import GalleryFace
from app.errors import NotFound
from app.images import ImageLimits
from app.services.people.deletion_receipts import DeletionReceipts
from app.services.people.face_thumbnails import FaceThumbnails
from app.services.people.person_records import Scope
from app.services.people.person_store import PersonStore
from app.services.people.person_twins import PersonTwins
from tests.integration.people_world import BOX, DOMAIN, SCOPE, SPEC, World, axis, enrolled, photo


@pytest.fixture
def world(tmp_path: Path, migrated_database: Database) -> World:
    world = World(tmp_path, migrated_database)
    near_ana = (axis(0) + 0.3 * axis(5)).astype(np.float32)
    world.fill(
        enrolled("Ana", 0),
        enrolled("Bojan", 1),
        enrolled("Cveta", 2),
        GalleryFace("Anna", "Anna/1.jpg", BOX, near_ana),
    )
    return world


@pytest.fixture
def twins(world: World) -> PersonTwins:
    return PersonTwins(world.database, PersonStore(SPEC), SPEC, threshold=0.1)


def names(twins: PersonTwins) -> list[set[str]]:
    return [{pair.first.name, pair.second.name} for pair in twins.find(DOMAIN).pairs]


def test_persons_with_close_mean_faces_are_suggested_with_their_distance(world: World, twins: PersonTwins) -> None:
    found = twins.find(DOMAIN)
    assert names(twins) == [{"Ana", "Anna"}]
    assert (found.compared, found.persons) == (4, 4)
    assert found.pairs[0].distance == twins.distance(DOMAIN, world.id_of("Ana"), world.id_of("Anna"))
    assert 0 < found.pairs[0].distance < 0.1


def test_a_pair_that_somebody_told_apart_is_not_suggested_again(world: World, twins: PersonTwins) -> None:
    twins.dismiss(SCOPE, world.id_of("Anna"), world.id_of("Ana"))
    twins.dismiss(SCOPE, world.id_of("Ana"), world.id_of("Anna"))
    assert names(twins) == []


def test_when_everything_that_was_shown_is_told_apart_the_next_pairs_follow(
    world: World, twins: PersonTwins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.people.person_twins.MAX_PAIRS", 1)
    near_cveta = (axis(2) + 0.2 * axis(7)).astype(np.float32)
    world.fill(GalleryFace("Cvetka", "Cvetka/1.jpg", BOX, near_cveta))
    assert names(twins) == [{"Cveta", "Cvetka"}]
    twins.dismiss(SCOPE, world.id_of("Cveta"), world.id_of("Cvetka"))
    assert names(twins) == [{"Ana", "Anna"}]


def test_what_changes_the_gallery_changes_the_suggestions_at_once(world: World, twins: PersonTwins) -> None:
    assert names(twins) == [{"Ana", "Anna"}]
    world.persons.add(SCOPE, "Bojana", [photo(1)], force=True)
    assert {"Bojan", "Bojana"} in names(twins)
    world.merging.merge(SCOPE, world.id_of("Anna"), world.id_of("Ana"))
    assert names(twins) == [{"Bojan", "Bojana"}]
    twins.dismiss(SCOPE, world.id_of("Bojan"), world.id_of("Bojana"))
    world.deletion.delete(SCOPE, world.id_of("Bojana"))
    assert names(twins) == []


def test_persons_of_another_domain_are_neither_shown_nor_told_apart(world: World, twins: PersonTwins) -> None:
    assert twins.find("slovenia").pairs == ()
    with pytest.raises(NotFound):
        twins.dismiss(Scope("slovenia", "t_test"), world.id_of("Ana"), world.id_of("Anna"))


def test_a_receipt_can_be_shown_again_in_its_own_domain_alone(world: World) -> None:
    receipt = world.deletion.delete(SCOPE, world.id_of("Cveta"))
    receipts = DeletionReceipts(world.database)
    shown = receipts.find(DOMAIN, receipt.receipt_id)
    assert (shown["counts"], shown["actor"]) == (receipt.counts, SCOPE.actor)
    with pytest.raises(NotFound):
        receipts.find("slovenia", receipt.receipt_id)


def test_a_face_is_shown_to_its_own_domain_and_only_where_its_photo_is_there(world: World) -> None:
    faces = FaceThumbnails(world.database, GalleryFiles(world.storage / "galleries"), SPEC, ImageLimits(10**6))
    ana, bojan = world.id_of("Ana"), world.id_of("Bojan")
    (world.folder / "Bojan" / "1.jpg").unlink()
    covers = faces.of_persons(DOMAIN, [ana, bojan])
    assert set(covers) == {ana}
    assert faces.of_images(DOMAIN, ["Ana/1.jpg", "Bojan/1.jpg", "Nobody/1.jpg"]) == {"Ana/1.jpg": covers[ana]}
    with pytest.raises(NotFound, match="no such face"):
        faces.jpeg("slovenia", covers[ana])
