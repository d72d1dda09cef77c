"""Removing what is kept no longer: jobs that ended long ago, and uploads that no job needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from app.services.video.job_store import JobStore
from app.services.video.removal import VideoRemoval
from app.services.video.uploads import UploadFolder

ACTOR = "retention"

_ORPHAN_AGE_S = 24 * 3600.0  # an upload that is still coming is younger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """How much a run removed."""

    jobs: int
    uploads: int


class VideoRetention:
    """Runs once in a while in a worker; two runs at a time do no harm.

    :param days: how long a job is kept after it ended.
    :param keep_uploads: whether an upload stays for as long as its job.
    """

    def __init__(
        self, jobs: JobStore, removal: VideoRemoval, uploads: UploadFolder, days: int, keep_uploads: bool
    ) -> None:
        self._jobs = jobs
        self._removal = removal
        self._uploads = uploads
        self._days = days
        self._needed = jobs.known if keep_uploads else jobs.unfinished

    def run(self) -> Swept:
        """Remove what is too old.

        :raises StoreUnavailable: a store cannot be asked or written; the next run goes on.
        """
        swept = Swept(self._remove_jobs(), self._remove_orphans())
        if swept != Swept(0, 0):
            log.info("video.retention", jobs=swept.jobs, uploads=swept.uploads, days=self._days)
        return swept

    def _remove_jobs(self) -> int:
        before, removed = datetime.now(UTC) - timedelta(days=self._days), 0
        while expired := self._jobs.expired(before):
            for job in expired:
                self._removal.remove(job, ACTOR)
            removed += len(expired)
        return removed

    def _remove_orphans(self) -> int:
        whole, broken_off = self._uploads.older_than(_ORPHAN_AGE_S)
        orphans = set(whole) - self._needed(whole) | set(broken_off)
        return sum(self._uploads.remove(name) for name in orphans)
