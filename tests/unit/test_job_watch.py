"""A job's progress: written seldom, patient with a store that is away, stopped in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from app.errors import StoreUnavailable
from app.services.video import job_watch
from app.services.video.job_records import Job, JobCancelled, Progress
from app.services.video.job_store import JobStore
from app.services.video.job_watch import JobInterrupted, JobWatch, Shutdown
from app.services.video.records import VideoFacts

JOB = cast(Job, SimpleNamespace(job_id="job", facts=VideoFacts(4.0, 640, 360, 25.0, 100, "h264")))


@dataclass
class Jobs:
    """Takes progress down; or fails as told."""

    written: list[Progress] = field(default_factory=list)
    failure: Exception | None = None

    def progress(self, job: Job, progress: Progress) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append(progress)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


def watch_of(jobs: Jobs, shutdown: Shutdown | None = None, patience_s: float = 5.0) -> JobWatch:
    return JobWatch(cast(JobStore, jobs), JOB, shutdown or Shutdown(60.0), patience_s)


def test_a_hundred_reports_in_a_second_are_written_once(jobs: Jobs) -> None:
    watch = watch_of(jobs)
    for frame in range(1, 101):
        watch.progress(frame, 100, 0)
    assert [progress.frames_done for progress in jobs.written] == [1]


def test_a_stage_is_written_at_once_and_percent_never_falls(jobs: Jobs) -> None:
    watch = watch_of(jobs)
    watch.progress(120, 100, 7)  # a container that counted too few
    for stage in job_watch.STAGES:
        watch.enter(stage)
    percents = [progress.percent for progress in jobs.written]
    assert percents[1:] == [85.0, *list(job_watch.STAGES.values())[1:]]
    assert jobs.written[-1].faces == 7


def test_progress_that_cannot_be_written_stops_nothing(jobs: Jobs) -> None:
    jobs.failure = StoreUnavailable("away")
    watch_of(jobs).progress(1, 100, 0)


def test_a_cancelled_job_stops_its_stage(jobs: Jobs) -> None:
    jobs.failure = JobCancelled("no more")
    with pytest.raises(JobCancelled):
        watch_of(jobs).progress(1, 100, 0)


def test_a_worker_that_ends_lets_go_when_its_patience_is_over(jobs: Jobs) -> None:
    shutdown = Shutdown(0.0)
    watch = watch_of(jobs, shutdown)
    watch.enter("reading")
    shutdown.begin()
    with pytest.raises(JobInterrupted):
        watch.enter("storing")


def test_a_step_is_done_again_while_its_store_is_away(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.video.job_watch.time.sleep", lambda _: None)
    failures = [StoreUnavailable("away"), StoreUnavailable("away")]

    def step() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert watch_of(jobs).patiently(step) == "done"
    with pytest.raises(StoreUnavailable):
        watch_of(jobs, patience_s=0.0).patiently(lambda: (_ for _ in ()).throw(StoreUnavailable("away")))
