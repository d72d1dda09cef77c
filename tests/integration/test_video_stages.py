"""What becomes of a video between its analysis and its results, also where texts, stores and set-ups are amiss."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.adapters.local_objects import LocalObjects
from app.adapters.postgres import Database
from app.domain import FaceBox, FaceMatches, Match
from app.errors import AppError, NotFound, SpecMismatch, StoreTimeout, StoreUnavailable, TooLarge, UnsupportedVideo
from app.services.profiles.records import IdentityProbe, ProfileMatch, ProfileSearchResult
from app.services.video import identity_sql
from app.services.video.identity_store import IdentityStore
from app.services.video.job_records import Job, JobCancelled, JobScope, JobState, NewJob
from app.services.video.job_store import JobStore
from app.services.video.job_watch import JobInterrupted, JobWatch, Shutdown
from app.services.video.pipeline import PipelineOptions, VideoPipeline
from app.services.video.records import Appearance, FaceQuality, Identity, SeenFace, VideoAnalysis, VideoFacts
from app.services.video.results import VideoResults
from app.services.video.stages import Searches, VideoStages, VideoStores
from app.services.video.uploads import UploadFolder
from tests.integration.video_world import wait_until

FACTS = VideoFacts(10.0, 640, 360, 25.0, 250, "h264")
DIMENSIONS = 256
CROWD = 130
EVERYBODYS = JobScope("a", None)
LITERAL = r"C:\u0000 is six characters behind a colon"


def person(number: int) -> Identity:
    """Somebody who resembles nobody else."""
    face = SeenFace(0.0, 0, FaceBox(1, 2, 30, 40), FaceQuality(1.0, 1.0, 1.0, 1.0, 0.9), b"")
    return Identity(number, np.eye(DIMENSIONS)[number], (face,), (Appearance(0.0, 1.0),))


@dataclass
class Found:
    """An analyser that knows what it finds."""

    analysis: VideoAnalysis

    def read(self, path: Path, watch: Any) -> Any: ...

    def identify(self, found: Any) -> VideoAnalysis:
        return self.analysis


@dataclass
class Asked:
    """Gallery and profiles that answer, and count how many they were asked for at once."""

    gallery: list[int] = field(default_factory=list)
    profiles: list[int] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    profiles_break_at: int = 10

    def persons(self, domain: str, probes: NDArray[np.float64]) -> list[FaceMatches]:
        self.gallery.append(len(probes))
        return [(Match(f"Person {row.argmax()}", "1.jpg", 0.1, 90.0),) for row in probes]

    def search(self, probes: Sequence[IdentityProbe]) -> ProfileSearchResult:
        self.profiles.append(len(probes))
        if len(self.profiles) >= self.profiles_break_at:
            return ProfileSearchResult("failed", "The index did not answer.", ms={"vectors": 5.0})
        found = {probe.cluster_id: (self._match(probe.cluster_id),) for probe in probes}
        return ProfileSearchResult("ok", matches=found, ms={"vectors": 1.5})

    def _match(self, cluster: int) -> ProfileMatch:
        return ProfileMatch(cluster, f"e{cluster}", 0.9, "twitter", LITERAL, "7", None, None, self.metadata)


@dataclass
class World:
    """Jobs that are worked on in this process."""

    database: Database
    folder: Path
    asked: Asked = field(default_factory=Asked)
    tickets: int = 0

    @property
    def jobs(self) -> JobStore:
        return JobStore(self.database)

    def begun(self, facts: VideoFacts = FACTS) -> Job:
        self.tickets += 1
        name = f"job-{self.tickets}"
        (self.folder / name).touch()
        self.jobs.create(NewJob(name, "a", "serbia", name, 1, facts, "spec", "request"))
        job = self.jobs.claim(self.tickets)
        assert job is not None
        return job

    def work(self, job: Job, persons: int, identities: IdentityStore | None = None, facts: VideoFacts = FACTS) -> None:
        self.work_on(job, VideoAnalysis(facts, 20, tuple(map(person, range(persons)))), identities)

    def work_on(self, job: Job, analysis: VideoAnalysis, identities: IdentityStore | None = None) -> None:
        store = identities or IdentityStore(self.database, "spec")
        stores = VideoStores(self.jobs, store, LocalObjects(self.folder / "objects"))
        searches = Searches(self.asked.persons, self.asked.search, max_distance=0.4)
        watch = JobWatch(self.jobs, job, Shutdown(60), patience_s=0.2)
        VideoStages(Found(analysis), stores, searches).work(job, self.folder / job.upload, watch)

    def results(self, job: Job) -> dict[str, Any]:
        return VideoResults(self.database, lambda keys: {}).of(self.jobs.get(EVERYBODYS, job.job_id), EVERYBODYS)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.database.transaction(10, read_only=True) as cursor:
            cursor.execute(query)
            return cursor.fetchall()


@pytest.fixture
def world(migrated_database: Database, tmp_path: Path) -> World:
    return World(migrated_database, tmp_path)


# --- texts that Postgres cannot hold


def test_a_profile_s_texts_are_stored_without_what_postgres_cannot_hold_and_otherwise_as_they_are(world: World) -> None:
    biography = {
        "biography": LITERAL,
        "nul": "a\0b",
        "half\0": "\ud800",
        "count": float("nan"),
        "at": Path("x"),
        "n": 3,
    }
    world.asked.metadata = {"instagramData": [biography]}
    job = world.begun()
    world.work(job, 1)
    assert world.results(job)["profile_search"]["status"] == "ok"
    ((name, metadata),) = world.rows("SELECT profile_name, raw_metadata FROM profile_matches")
    assert name == LITERAL
    wanted = {"biography": LITERAL, "nul": "ab", "half": "?", "count": None, "at": "x", "n": 3}
    assert metadata == {"instagramData": [wanted]}


def test_a_profile_that_cannot_be_stored_at_all_is_no_reason_to_lose_the_video(world: World) -> None:
    class Broken(IdentityStore):
        def save_profiles(self, *arguments: Any) -> None:
            raise ValueError("a mistake of ours")

    job = world.begun()
    world.work(job, 2, Broken(world.database, "spec"))
    found = world.results(job)
    assert len(found["identities"]) == 2
    assert found["profile_search"]["status"] == "failed"
    assert "mistake" not in found["profile_search"]["reason"]


@pytest.mark.parametrize("stopped", [JobCancelled("Stop."), JobInterrupted()])
def test_a_job_that_is_to_stop_while_profiles_are_stored_stops(world: World, stopped: Exception) -> None:
    class Stopping(IdentityStore):
        def save_profiles(self, *arguments: Any) -> None:
            raise stopped

    with pytest.raises(type(stopped)):
        world.work(world.begun(), 1, Stopping(world.database, "spec"))


# --- crowds


def test_a_crowd_is_asked_about_in_parts_and_found_whole(world: World) -> None:
    job = world.begun()
    world.work(job, CROWD)
    assert (world.asked.gallery, world.asked.profiles) == ([64, 64, 2], [64, 64, 2])
    found = world.results(job)
    assert [identity["matches"][0]["name"] for identity in found["identities"]] == [f"Person {n}" for n in range(CROWD)]
    assert all(len(identity["profile_matches"]) == 1 for identity in found["identities"])
    assert found["profile_search"] == {"status": "ok", "reason": None, "ms": {"vectors": 4.5}}


def test_an_index_that_stops_answering_within_a_crowd_is_asked_no_more_and_nothing_is_half_there(world: World) -> None:
    world.asked.profiles_break_at = 2
    job = world.begun()
    world.work(job, CROWD)
    assert world.asked.profiles == [64, 64]
    assert world.results(job)["profile_search"] == {
        "status": "failed",
        "reason": "The index did not answer.",
        "ms": {"vectors": 6.5},
    }
    assert world.rows("SELECT FROM profile_matches") == []


def test_everybody_of_a_crowd_is_linked_with_an_earlier_video(world: World) -> None:
    earlier, later = world.begun(), world.begun()
    world.work(earlier, CROWD)
    world.work(later, CROWD)
    world.work(later, CROWD)  # again, as after a worker that was killed
    links = world.rows("SELECT job_id, cluster_id, other_job_id, other_cluster_id, similarity FROM identity_links")
    assert sorted(links) == [(later.job_id, n, earlier.job_id, n, 1.0) for n in range(CROWD)]
    assert world.results(later)["link_search"] == {"status": "ok", "reason": None}


# --- links


def test_of_another_video_the_nearest_identity_is_linked_and_of_another_length_none(world: World) -> None:
    near, far, other = world.begun(), world.begun(), world.begun()
    lookalike = replace(person(3), embedding=np.eye(DIMENSIONS)[[0, 3]].sum(axis=0) / np.sqrt(2))
    world.work_on(near, VideoAnalysis(FACTS, 1, (person(0), lookalike)))
    shorter = replace(person(0), embedding=np.eye(8)[0])
    world.work_on(other, VideoAnalysis(FACTS, 1, (shorter,)), IdentityStore(world.database, "another spec"))
    world.work(far, 1)
    links = world.rows("SELECT job_id, cluster_id, other_job_id, other_cluster_id FROM identity_links")
    assert links == [(far.job_id, 0, near.job_id, 0)]


def test_links_that_take_too_long_leave_a_note_and_the_video_is_complete_without_them(world: World) -> None:
    class Slow(IdentityStore):
        asked = 0

        def link(self, *arguments: Any) -> int:
            self.asked += 1
            if self.asked > 1:
                raise StoreTimeout("The database did not answer within the time limit.")
            return super().link(*arguments)

    world.work(world.begun(), CROWD)
    job = world.begun()
    world.work(job, CROWD, Slow(world.database, "spec"))
    found = world.results(job)
    assert found["link_search"] == {
        "status": "failed",
        "reason": "The database did not answer within the time limit.",
    }
    assert (found["gallery_search"]["status"], found["profile_search"]["status"]) == ("ok", "ok")
    assert sum(len(identity["links"]) for identity in found["identities"]) == 16  # those found until then


def test_a_job_can_be_cancelled_and_deleted_while_its_identities_are_measured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.work(world.begun(), 1)
    job = world.begun()
    identities = IdentityStore(world.database, "spec")
    identities.replace(job, VideoAnalysis(FACTS, 20, (person(0),)))
    held = f"SELECT pg_advisory_xact_lock(7); {identity_sql.NEAR}"
    monkeypatch.setattr(identity_sql, "NEAR", held)
    with ThreadPoolExecutor(1) as pool:
        with world.database.transaction(30) as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7)")
            linking = pool.submit(identities.link, job, [0], 0.4)
            wait_until(lambda: bool(world.rows("SELECT FROM pg_locks WHERE NOT granted")), "the measuring")
            world.jobs.cancel(EVERYBODYS, job.job_id)
            world.jobs.delete(job, "somebody")
        with pytest.raises(JobCancelled):
            linking.result()
    assert world.rows("SELECT FROM identity_links") == []


# --- what the video is


def test_the_length_that_reading_found_is_in_the_results(world: World) -> None:
    unknown = replace(FACTS, duration_s=0.0, fps=0.0, frames=0)
    job = world.begun(unknown)
    world.work(job, 1, facts=replace(unknown, duration_s=12.5, frames=313))
    assert world.results(job)["video"]["duration_s"] == 12.5


# --- whose fault it is


@dataclass
class FailingStages:
    error: AppError

    def work(self, *arguments: Any) -> None:
        raise self.error


def attempt(world: World, error: AppError) -> tuple[float | None, JobState, bool]:
    """In how many seconds the ticket comes again, what has become of the job, and whether its upload is there."""
    stores = VideoStores(world.jobs, IdentityStore(world.database, "spec"), LocalObjects(world.folder / "objects"))
    uploads = UploadFolder(world.folder, 1000)
    options = PipelineOptions(max_attempts=3, keep_upload=False)
    pipeline = VideoPipeline(FailingStages(error), stores, uploads, lambda job_id: None, options)  # type: ignore[arg-type]
    world.jobs.create(NewJob("one", "a", "serbia", "one", 1, FACTS, "spec", "request"))
    (world.folder / "one").touch()
    wait_s = pipeline.run(1, Shutdown(60))
    return wait_s, world.jobs.get(EVERYBODYS, "one").state, (world.folder / "one").exists()


@pytest.mark.parametrize(
    "error",
    [
        SpecMismatch("A node has other weights."),
        NotFound("The gallery is not there.", code="unknown_domain"),
        StoreUnavailable("The database is away."),
    ],
    ids=lambda error: error.error_code,
)
def test_what_is_wrongly_set_up_costs_an_attempt_and_not_the_video(world: World, error: AppError) -> None:
    assert attempt(world, error) == (5.0, JobState.QUEUED, True)


@pytest.mark.parametrize(
    "error",
    [
        UnsupportedVideo("This is no video."),
        TooLarge("It is too long.", code="video_too_long"),
        NotFound("The upload is not there.", code="upload_lost"),
    ],
    ids=lambda error: error.error_code,
)
def test_what_the_video_is_at_fault_for_ends_its_job_at_once(world: World, error: AppError) -> None:
    assert attempt(world, error) == (None, JobState.FAILED, False)
