"""How a job's stages tell how far they are, and are told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from app.errors import StoreUnavailable
from app.services.video.job_records import Job, Progress
from app.services.video.job_store import JobStore

T = TypeVar("T")

# Where in the whole a stage begins, in percent. Reading takes nearly all the time.
STAGES = {"reading": 0.0, "clustering": 85.0, "storing": 88.0, "matching": 92.0, "profiles": 95.0, "publishing": 99.0}

_EVERY_S = 1.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 5.0

log = structlog.get_logger(__name__)


class JobInterrupted(Exception):
    """The worker ends, and gives the job back."""


class Shutdown:
    """When a worker that was told to end lets go of its job.

    :param patience_s: for the job to come to its end.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._began = threading.Event()
        self._over_at = 0.0

    def begin(self) -> None:
        """From now on the job has so many seconds."""
        self._over_at = time.monotonic() + self._patience_s
        self._began.set()

    @property
    def is_over(self) -> bool:
        return self._began.is_set() and time.monotonic() >= self._over_at


class JobWatch:
    """Writes a job's progress at most once a second, and stops whoever reports where the job is not to go on.

    :param patience_s: how long a store may be away before a stage fails.
    """

    def __init__(self, jobs: JobStore, job: Job, shutdown: Shutdown, patience_s: float) -> None:
        self._jobs = jobs
        self._job = job
        self._shutdown = shutdown
        self._patience_s = patience_s
        self._stage = "reading"
        self._frames = (0, job.facts.frames or None, 0)
        self._next_at = 0.0

    def enter(self, stage: str) -> None:
        """A stage begins.

        :raises JobCancelled: the job was cancelled or deleted, or is another worker's by now; JobInterrupted.
        """
        self._stage, self._next_at = stage, 0.0
        self.check()

    def progress(self, frames_done: int, frames_total: int | None, faces: int) -> None:
        """How far reading is; raises as `enter` does."""
        self._frames = (frames_done, frames_total, faces)
        self.check()

    def check(self) -> None:
        """Once a second, whether to go on; raises as `enter` does."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _EVERY_S
        if self._shutdown.is_over:
            raise JobInterrupted
        try:
            self._jobs.progress(self._job, self._now())
        except StoreUnavailable as error:  # hours of work are not thrown away for it
            log.warning("video.progress_not_written", job_id=self._job.job_id, reason=error.message)

    def patiently(self, step: Callable[[], T]) -> T:
        """Do a step that can be done again, once more for as long as a store is away and there is patience.

        :raises StoreUnavailable: there is none left; and as `enter` does.
        """
        began, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            try:
                return step()
            except StoreUnavailable as error:
                if time.monotonic() - began + wait_s > self._patience_s:
                    raise
                log.warning("video.store_away", job_id=self._job.job_id, stage=self._stage, reason=error.message)
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            self.check()

    def _now(self) -> Progress:
        done, total, faces = self._frames
        percent = STAGES[self._stage]
        if self._stage == "reading" and total:
            percent = STAGES["clustering"] * min(1.0, done / total)
        return Progress(self._stage, percent, done, total, faces)
