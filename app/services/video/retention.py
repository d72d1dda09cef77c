"""Removing what is kept no longer: jobs that ended long ago, uploads that no job needs, and crops of no job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from app.errors import AppError
from app.services.video.job_store import JobStore
from app.services.video.removal import VideoRemoval
from app.services.video.uploads import UploadFolder

ACTOR = "retention"

_ORPHAN_AGE_S = 24 * 3600.0  # an upload that is still coming is younger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """How much a run removed.

    :param crops: jobs that were gone, and of which crops had been left.
    """

    jobs: int
    uploads: int
    crops: int = 0


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
        """Remove what is too old; what cannot be removed is noted in the log and stays until the next run.

        :raises StoreUnavailable: a store cannot be asked what it holds.
        """
        swept = Swept(self._remove_jobs(), self._remove_uploads(), self._remove_crops())
        if swept != Swept(0, 0):
            log.info("video.retention", **asdict(swept), days=self._days)
        return swept

    def _remove_jobs(self) -> int:
        before, removed, left = datetime.now(UTC) - timedelta(days=self._days), 0, set[str]()
        while expired := self._jobs.expired(before, left):
            gone = {job.job_id for job in expired if _removed(partial(self._removal.remove, job, ACTOR), job.job_id)}
            left |= {job.job_id for job in expired} - gone
            removed += len(gone)
        return removed

    def _remove_uploads(self) -> int:
        whole, broken_off = self._uploads.older_than(_ORPHAN_AGE_S)
        orphans = set(whole) - self._needed(whole) | set(broken_off)
        return sum(_removed(partial(self._uploads.remove, name), name) for name in orphans)

    def _remove_crops(self) -> int:
        strays = self._removal.stray_crops()
        return sum(_removed(partial(self._removal.remove_crops, job_id), job_id) for job_id in strays)


def _removed(remove: Callable[[], object], name: str) -> bool:
    """Whether it could be: one that cannot keeps no other from being removed."""
    try:
        remove()
    except AppError as error:
        log.warning("video.not_removed", item=name, reason=error.message)
        return False
    return True
