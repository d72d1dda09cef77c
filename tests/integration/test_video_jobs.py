"""The rows of jobs: whose turn it is, which attempt counts, and what is kept for how long."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.local_objects import LocalObjects
from app.adapters.postgres import Database
from app.errors import Conflict, NotFound, StoreUnavailable
from app.services.video.job_records import Job, JobCancelled, JobError, JobScope, JobState, NewJob, Progress
from app.services.video.job_store import JobStore, TooManyJobs
from app.services.video.objects import crop_key
from app.services.video.records import VideoFacts
from app.services.video.removal import VideoRemoval
from app.services.video.retention import Swept, VideoRetention
from app.services.video.uploads import UploadFolder

FACTS = VideoFacts(10.0, 640, 360, 25.0, 250, "h264")
OURS = JobScope("a", None)
READING = Progress("reading", 10.0, 25, 250, 1)


@pytest.fixture
def jobs(migrated_database: Database) -> Iterator[JobStore]:
    yield JobStore(migrated_database, max_unfinished=10)


def new_job(job_id: str, tenant: str = "a", **more: object) -> NewJob:
    job = NewJob(job_id, tenant, "serbia", job_id, 1000, FACTS, "spec", "request")
    return replace(job, **more)


def added(jobs: JobStore, job_id: str, tenant: str = "a", **more: object) -> Job:
    return jobs.create(new_job(job_id, tenant, **more))[0]


def claimed(jobs: JobStore, ticket: int) -> Job:
    job = jobs.claim(ticket)
    assert job is not None
    return job


def test_a_tenant_with_one_job_waits_for_no_more_than_one_of_a_tenant_with_many(jobs: JobStore) -> None:
    for number in range(5):
        added(jobs, f"a{number}", "a")
    first = claimed(jobs, 1)
    added(jobs, "b0", "b")
    assert [first.job_id, *(claimed(jobs, ticket).job_id for ticket in (2, 3, 4))] == ["a0", "b0", "a1", "a2"]


def test_a_tenant_that_deletes_its_jobs_is_not_taken_for_one_that_was_never_served(jobs: JobStore) -> None:
    for number in range(3):
        added(jobs, f"a{number}", "a")
    jobs.delete(claimed(jobs, 1), "t_1")
    added(jobs, "b0", "b")
    assert claimed(jobs, 2).job_id == "b0"


def test_two_tenants_with_many_jobs_take_turns(jobs: JobStore) -> None:
    for tenant in ("a", "b"):
        for number in range(3):
            added(jobs, f"{tenant}{number}", tenant)
    order = [claimed(jobs, ticket).tenant_id for ticket in range(6)]
    assert order in (["a", "b"] * 3, ["b", "a"] * 3)


def test_workers_that_claim_at_the_same_moment_get_a_job_each_and_still_take_turns(jobs: JobStore) -> None:
    for tenant in ("a", "b"):
        for number in range(4):
            added(jobs, f"{tenant}{number}", tenant)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda ticket: claimed(jobs, ticket), range(4)))
    assert len({job.job_id for job in got}) == 4
    assert sorted(job.tenant_id for job in got) == ["a", "a", "b", "b"]


def test_within_a_tenant_what_is_urgent_comes_first(jobs: JobStore) -> None:
    added(jobs, "old"), added(jobs, "urgent", priority=5), added(jobs, "new")
    assert [claimed(jobs, ticket).job_id for ticket in (1, 2, 3)] == ["urgent", "old", "new"]


def test_a_ticket_that_comes_again_goes_on_with_its_own_job(jobs: JobStore) -> None:
    added(jobs, "one"), added(jobs, "two")
    first, again = claimed(jobs, 7), claimed(jobs, 7)
    assert (first.job_id, first.attempts, again.job_id, again.attempts) == ("one", 1, "one", 2)


def test_a_queue_that_was_made_anew_may_use_the_numbers_of_jobs_that_ended(jobs: JobStore) -> None:
    added(jobs, "done"), added(jobs, "cancelled")
    done = claimed(jobs, 1)
    jobs.finish(done, JobState.DONE)
    jobs.retry(claimed(jobs, 2), JobError("x", "x"))
    jobs.cancel(OURS, "cancelled")
    added(jobs, "three"), added(jobs, "four")
    assert [claimed(jobs, ticket).job_id for ticket in (1, 2)] == ["three", "four"]
    assert not jobs.finish(done, JobState.FAILED, JobError("x", "x"))
    assert [jobs.get(OURS, name).state for name in ("done", "cancelled")] == [JobState.DONE, JobState.CANCELLED]


def test_a_worker_that_was_given_up_for_dead_writes_nothing_over_the_next_one(jobs: JobStore) -> None:
    added(jobs, "one")
    dead, alive = claimed(jobs, 1), claimed(jobs, 1)
    with pytest.raises(JobCancelled):
        jobs.progress(dead, READING)
    assert jobs.is_cancelled(dead)
    assert not jobs.finish(dead, JobState.FAILED, JobError("x", "x"))
    jobs.progress(alive, READING)
    assert jobs.get(OURS, "one").percent == 10.0


def test_a_released_job_is_anybodys_and_its_attempt_is_not_counted(jobs: JobStore) -> None:
    added(jobs, "one")
    released = claimed(jobs, 1)
    assert jobs.release(released)
    taken = claimed(jobs, 2)
    assert (taken.job_id, taken.attempts) == ("one", 1)
    assert not jobs.finish(released, JobState.DONE)  # the thread that was left behind


def test_a_failed_attempt_waits_for_its_ticket_and_counts(jobs: JobStore) -> None:
    added(jobs, "one")
    assert jobs.retry(claimed(jobs, 1), JobError("store_unavailable", "The database is away."))
    waiting = jobs.get(OURS, "one")
    assert (waiting.state, waiting.error) == (JobState.QUEUED, JobError("store_unavailable", "The database is away."))
    assert jobs.claim(2) is None
    again = claimed(jobs, 1)
    assert (again.attempts, again.error) == (2, None)


def test_a_running_job_that_is_cancelled_stops_at_its_next_report(jobs: JobStore) -> None:
    added(jobs, "one", webhook_url="https://example.org/")
    job = claimed(jobs, 1)
    assert jobs.cancel(OURS, "one").state is JobState.RUNNING
    with pytest.raises(JobCancelled):
        jobs.progress(job, READING)
    assert jobs.finish(job, JobState.CANCELLED)
    ended = jobs.get(OURS, "one")
    assert (ended.state, ended.webhook_state) == (JobState.CANCELLED, "waiting")


def test_of_two_creations_with_one_key_at_the_same_moment_one_is_new(jobs: JobStore) -> None:
    def create(number: int) -> tuple[Job, bool]:
        return jobs.create(new_job(f"j{number}", idempotency_key="k", idempotency_digest="d"))

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(create, range(4)))
    assert sorted(is_new for _, is_new in made) == [False, False, False, True]
    assert len({job.job_id for job, _ in made}) == 1
    with pytest.raises(Conflict):
        jobs.create(new_job("other", idempotency_key="k", idempotency_digest="e"))


def test_the_limit_of_a_tenant_counts_what_waits_or_runs(migrated_database: Database) -> None:
    jobs = JobStore(migrated_database, max_unfinished=2)
    added(jobs, "one"), added(jobs, "two")
    job = claimed(jobs, 1)
    with pytest.raises(TooManyJobs):
        added(jobs, "three")
    jobs.finish(job, JobState.DONE)
    assert added(jobs, "three").job_id == "three"


def test_retention_removes_old_jobs_and_uploads_that_nobody_needs(jobs: JobStore, tmp_path: Path) -> None:
    uploads, objects = UploadFolder(tmp_path / "uploads", 1000), LocalObjects(tmp_path / "objects")
    retention = VideoRetention(jobs, VideoRemoval(jobs, uploads, objects), uploads, days=30, keep_uploads=True)
    for name in ("old", "recent"):
        added(jobs, name)
        jobs.finish(claimed(jobs, len(name)), JobState.DONE)
        objects.put(crop_key(name, 0, 0), b"crop", "image/jpeg")
    added(jobs, "waiting")
    _age(jobs, "old", days=31)
    for name in ("old", "recent", "waiting", "nobodys", ".incoming-broken"):
        _old_file(tmp_path / "uploads" / name)
    (tmp_path / "uploads" / ".incoming-now").write_bytes(b"arriving")
    assert retention.run() == Swept(jobs=1, uploads=2)
    assert {path.name for path in (tmp_path / "uploads").iterdir()} == {"recent", "waiting", ".incoming-now"}
    with pytest.raises(NotFound):
        jobs.get(OURS, "old")
    assert objects.get(crop_key("old", 0, 0)) is None
    assert objects.get(crop_key("recent", 0, 0)) == b"crop"


class Stubborn(LocalObjects):
    """A store that cannot remove one job's crops."""

    def delete_prefix(self, prefix: str) -> None:
        if prefix.endswith("stubborn"):
            raise StoreUnavailable("The store is read-only here.")
        super().delete_prefix(prefix)


def test_a_job_that_cannot_be_removed_stops_retention_for_nobody_else(jobs: JobStore, tmp_path: Path) -> None:
    uploads, objects = UploadFolder(tmp_path / "uploads", 1000), Stubborn(tmp_path / "objects")
    for ticket, name in enumerate(("stubborn", "old")):
        added(jobs, name)
        jobs.finish(claimed(jobs, ticket), JobState.DONE)
        _age(jobs, name, days=40 - ticket)
    _old_file(tmp_path / "uploads" / "nobodys")
    retention = VideoRetention(jobs, VideoRemoval(jobs, uploads, objects), uploads, days=30, keep_uploads=True)
    assert retention.run() == Swept(jobs=1, uploads=1)
    assert jobs.get(OURS, "stubborn").job_id == "stubborn"
    with pytest.raises(NotFound):
        jobs.get(OURS, "old")


def test_crops_that_a_worker_wrote_after_its_job_was_deleted_are_removed(jobs: JobStore, tmp_path: Path) -> None:
    uploads, objects = UploadFolder(tmp_path / "uploads", 1000), LocalObjects(tmp_path / "objects")
    removal = VideoRemoval(jobs, uploads, objects)
    for ticket, name in enumerate(("deleted", "kept")):
        added(jobs, name)
        job = claimed(jobs, ticket)
        if name == "deleted":
            removal.remove(job, "t_1")
        objects.put(crop_key(name, 0, 0), b"crop", "image/jpeg")
    assert VideoRetention(jobs, removal, uploads, days=30, keep_uploads=True).run() == Swept(0, 0, crops=1)
    assert objects.get(crop_key("deleted", 0, 0)) is None
    assert objects.get(crop_key("kept", 0, 0)) == b"crop"


def test_a_deletion_counts_though_a_worker_still_writes_crops(jobs: JobStore, tmp_path: Path) -> None:
    class Refilled(LocalObjects):
        """Cannot be emptied a second time, because a worker fills it again and again."""

        asked = 0

        def delete_prefix(self, prefix: str) -> None:
            self.asked += 1
            if self.asked > 1:
                raise StoreUnavailable("Directory not empty.")

    objects = Refilled(tmp_path / "objects")
    job = added(jobs, "busy")
    receipt = VideoRemoval(jobs, UploadFolder(tmp_path / "uploads", 1000), objects).remove(job, "t_1")
    assert (receipt.counts["jobs"], objects.asked) == (1, 2)


def test_an_upload_that_a_crash_left_after_its_job_ended_is_removed(jobs: JobStore, tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path, 1000)
    removal = VideoRemoval(jobs, uploads, LocalObjects(tmp_path / "objects"))
    added(jobs, "ended")
    jobs.finish(claimed(jobs, 1), JobState.DONE)
    _old_file(tmp_path / "ended")
    assert VideoRetention(jobs, removal, uploads, days=30, keep_uploads=False).run() == Swept(jobs=0, uploads=1)


def _age(jobs: JobStore, job_id: str, days: int) -> None:
    with jobs.database.transaction(5) as cursor:
        cursor.execute(
            "UPDATE jobs SET finished_at = now() - make_interval(days => %(days)s) WHERE job_id = %(id)s",
            {"days": days, "id": job_id},
        )


def _old_file(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"video")
    os.utime(path, (time.time() - 2 * 86400,) * 2)
