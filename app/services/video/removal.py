"""Removing a job with all that belongs to it, and the receipt of that."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.errors import Conflict, StoreUnavailable
from app.services.video.job_records import Job, JobScope
from app.services.video.job_store import JobStore
from app.services.video.objects import CROPS, ObjectStore, crops_prefix
from app.services.video.uploads import UploadFolder


@dataclass(frozen=True, slots=True)
class JobReceipt:
    """That a job was removed.

    :param counts: of what was removed: rows by their table, and uploads.
    """

    job_id: str
    counts: dict[str, int]
    deleted_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return asdict(self) | {"deleted_at": self.deleted_at.isoformat(timespec="seconds")}


class VideoRemoval:
    """Removes jobs: rows, crops and uploads."""

    def __init__(self, jobs: JobStore, uploads: UploadFolder, objects: ObjectStore) -> None:
        self._jobs = jobs
        self._uploads = uploads
        self._objects = objects

    def remove(self, job: Job, actor: str) -> JobReceipt:
        """Remove the job; one that waits or runs is cancelled first.

        The rows go last, so that where a store fails the job is still there to be removed again; the crops go once
        more after them, because a worker may have put some there until it noticed. What it puts there later still, or
        the second time leaves, is nobody's, and retention removes it.

        :param actor: a token's id, or `retention`.
        :raises StoreUnavailable: a store cannot be written; the job is still there.
        """
        with suppress(Conflict):  # it had ended
            self._jobs.cancel(JobScope(job.tenant_id, (job.domain,)), job.job_id)
        self._objects.delete_prefix(crops_prefix(job.job_id))
        uploads = int(self._uploads.remove(job.upload))
        counts = self._jobs.delete(job, actor)
        with suppress(StoreUnavailable):
            self._objects.delete_prefix(crops_prefix(job.job_id))
        return JobReceipt(job.job_id, counts | {"uploads": uploads})

    def stray_crops(self) -> set[str]:
        """Ids of jobs that are gone, and of which crops are there.

        :raises StoreUnavailable: a store cannot be asked.
        """
        found = self._objects.names(CROPS)
        return set(found) - self._jobs.known(found)

    def remove_crops(self, job_id: str) -> None:
        """Remove crops that are left of a job that is gone.

        :raises StoreUnavailable: the store cannot be written.
        """
        self._objects.delete_prefix(crops_prefix(job_id))
