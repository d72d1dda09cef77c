"""Whoever changes a person changes the comparisons that name them, in the same step."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.adapters.postgres import Database
from app.domain import FaceBox, Match
from app.errors import Conflict
from app.services.parity.parity_store import ParityStore
from app.services.parity.records import (
    ComparisonQuery,
    ComparisonRecord,
    FaceComparison,
    StoredComparison,
    Verdict,
)
from tests.integration.people_world import DOMAIN, SCOPE, World, enrolled


@pytest.fixture
def world(tmp_path: Path, migrated_database: Database) -> World:
    """Ana is known to both galleries, Bojan too, and one comparison named each of them once."""
    made = World(tmp_path, migrated_database)
    made.fill(enrolled("Ana", 0), enrolled("Bojan", 1))
    ana, bojan = (Match(name, f"{name}/1.jpg", 0.1, 90.0) for name in ("Ana", "Bojan"))
    face = FaceComparison(FaceBox(0, 0, 9, 9), (ana,), (bojan,), True)
    at, id = datetime.now(UTC), "00000000-0000-0000-0000-000000000001"
    record = ComparisonRecord(id, "r1", at, DOMAIN, "spec", "live", "pkl", (face,), 1.0, 2.0, Verdict.DIFFER)
    ParityStore(migrated_database).write([record])
    return made


def row(world: World) -> StoredComparison:
    (found,) = ParityStore(world.database).comparisons(ComparisonQuery())
    return found


def test_a_deleted_person_is_gone_from_the_comparison_and_counted_in_the_receipt(world: World) -> None:
    receipt = world.deletion.delete(SCOPE, world.id_of("Ana"))
    assert receipt.counts["comparisons"] == 1
    assert (row(world).pkl_top1, row(world).pgvector_top1) == ("(deleted)", "Bojan")
    assert "Ana" not in str(row(world))


def test_a_renamed_person_is_renamed_in_the_comparison_with_the_images(world: World) -> None:
    world.persons.rename(SCOPE, world.id_of("Ana"), "Anica")
    assert row(world).pkl_top1 == "Anica"
    assert row(world).details[0]["pkl"][0]["image"] == "Anica/1.jpg"


def test_a_merged_person_is_named_as_the_one_who_took_the_photos(world: World) -> None:
    world.merging.merge(SCOPE, world.id_of("Ana"), into=world.id_of("Bojan"))
    found = row(world)
    assert found.pkl_top1 == found.pgvector_top1 == "Bojan"
    (image,) = (match["image"] for match in found.details[0]["pkl"])
    assert (world.folder / image).exists()


def test_a_change_that_is_refused_changes_no_comparison(world: World) -> None:
    with pytest.raises(Conflict):
        world.persons.rename(SCOPE, world.id_of("Ana"), "Bojan")
    assert row(world).pkl_top1 == "Ana"
