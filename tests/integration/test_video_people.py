"""Whoever changes a person changes what was found in videos, in the same step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapters.postgres import Database
from app.domain import FaceBox, Match, RecognizedFace
from app.errors import Conflict
from app.services.parity.person_rows import KnownElsewhere
from app.services.video.identity_store import IdentityStore
from app.services.video.job_records import Job, JobState, NewJob
from app.services.video.job_store import JobStore
from app.services.video.records import Appearance, FaceQuality, Identity, SeenFace, VideoAnalysis, VideoFacts
from tests.integration.people_world import DOMAIN, SCOPE, World, enrolled

BOX = FaceBox(0, 0, 9, 9)
FACTS = VideoFacts(10.0, 640, 360, 25.0, 250, "h264")
SEARCHED = {"status": "ok", "reason": None}


@pytest.fixture
def world(tmp_path: Path, migrated_database: Database) -> World:
    """Ana and Bojan are known, and a video of their domain and one of another name both of them, Ana first."""
    made = World(tmp_path, migrated_database)
    made.fill(enrolled("Ana", 0), enrolled("Bojan", 1))
    for ticket, domain in enumerate((DOMAIN, "slovenia")):
        job = begun(migrated_database, domain, ticket)
        save(migrated_database, job, ("Ana", "Bojan"))
        JobStore(migrated_database).finish(job, JobState.DONE)
    return made


def begun(database: Database, domain: str, ticket: int, job_id: str | None = None) -> Job:
    """A job of one identity, in work; its id is the domain's name if it is not given another."""
    jobs, job_id = JobStore(database), job_id or domain
    jobs.create(NewJob(job_id, "a", domain, job_id, 1000, FACTS, "spec", "request"))
    job = jobs.claim(ticket)
    assert job is not None
    face = SeenFace(0.0, 0, BOX, FaceQuality(1.0, 1.0, 1.0, 1.0, 0.9), b"crop")
    identity = Identity(0, np.eye(16)[0], (face,), (Appearance(0.0, 1.0),))
    IdentityStore(database, "spec").replace(job, VideoAnalysis(FACTS, 1, (identity,)))
    return job


def save(database: Database, job: Job, persons: Sequence[str], known: KnownElsewhere = lambda _, n: set(n)) -> None:
    matches = tuple(Match(name, f"{name}/1.jpg", 0.1 * place, 90.0) for place, name in enumerate(persons, 1))
    IdentityStore(database, "spec", known).save_gallery_matches(job, {0: RecognizedFace(BOX, matches)}, SEARCHED)


def found(world: World, job_id: str = DOMAIN) -> list[dict[str, Any]]:
    with world.database.transaction(5, read_only=True) as cursor:
        cursor.execute("SELECT matches FROM identities WHERE job_id = %(id)s", {"id": job_id})
        ((matches,),) = cursor.fetchall()
    return list(matches)


def names(world: World, job_id: str = DOMAIN) -> list[str]:
    return [match["name"] for match in found(world, job_id)]


def test_a_deleted_person_is_gone_from_the_videos_of_the_domain_and_counted_in_the_receipt(world: World) -> None:
    receipt = world.deletion.delete(SCOPE, world.id_of("Ana"))
    assert receipt.counts["video_identities"] == 1
    assert names(world) == ["Bojan"]
    assert "Ana" not in str(found(world))
    assert names(world, "slovenia") == ["Ana", "Bojan"]  # somebody else, of another gallery
    world.deletion.delete(SCOPE, world.id_of("Bojan"))
    assert found(world) == []


def test_a_renamed_person_is_renamed_in_videos_with_the_images(world: World) -> None:
    world.persons.rename(SCOPE, world.id_of("Ana"), "Anica")
    assert [(match["name"], match["image"]) for match in found(world)] == [
        ("Anica", "Anica/1.jpg"),
        ("Bojan", "Bojan/1.jpg"),
    ]
    assert names(world, "slovenia") == ["Ana", "Bojan"]


def test_two_who_are_one_person_are_one_match_the_better_one(world: World) -> None:
    world.merging.merge(SCOPE, world.id_of("Ana"), into=world.id_of("Bojan"))
    (match,) = found(world)
    assert (match["name"], match["distance"]) == ("Bojan", 0.1)
    assert (world.folder / match["image"]).exists()


def test_a_change_that_is_refused_changes_no_video(world: World) -> None:
    with pytest.raises(Conflict):
        world.persons.rename(SCOPE, world.id_of("Ana"), "Bojan")
    assert names(world) == ["Ana", "Bojan"]


def test_who_was_deleted_after_the_gallery_was_searched_is_not_written(world: World) -> None:
    job = begun(world.database, DOMAIN, ticket=7, job_id="late")
    world.deletion.delete(SCOPE, world.id_of("Ana"))
    save(world.database, job, ("Ana", "Bojan"), lambda _, unknown: set())
    assert names(world, "late") == ["Bojan"]


def test_the_identities_that_name_a_person_are_found_by_an_index(world: World) -> None:
    query = """EXPLAIN SELECT FROM identities WHERE matches @> '[{"name": "Ana"}]'"""
    with world.database.transaction(5) as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(query)
        assert "identities_matches" in str(cursor.fetchall())
