"""What a client may do with videos: send one, follow its job, see what was found, end it and remove it."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from app.errors import BadRequest, Conflict, NotFound, StoreUnavailable
from app.services.video.job_records import Job, JobScope, JobState, NewJob
from app.services.video.job_store import JobStore
from app.services.video.objects import ObjectStore
from app.services.video.records import VideoFacts
from app.services.video.removal import VideoRemoval
from app.services.video.results import VideoResults, crop_unknown
from app.services.video.uploads import IncomingUpload, UploadFolder

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_CROP = re.compile(r"(-1|\d{1,9})_(\d{1,9})\.jpg")

log = structlog.get_logger(__name__)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VideoServices:
    """What the controller works with.

    :param probe: what the video at a path is; raises where it is none, or over a limit.
    :param spec_key: of the engine that will look at it.
    :param defer: tells the workers that there is a job more.
    :param check_webhook: raises where webhooks do not go to this address.
    """

    jobs: JobStore
    uploads: UploadFolder
    objects: ObjectStore
    results: VideoResults
    removal: VideoRemoval
    probe: Callable[[Path], VideoFacts]
    spec_key: Callable[[], str]
    defer: Callable[[], object]
    check_webhook: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Submission:
    """What comes with a video.

    :param created_by: a token's id.
    """

    tenant_id: str
    domain: str
    request_id: str
    created_by: str
    priority: int = 0
    webhook_url: str | None = None
    idempotency_key: str | None = None

    def digest(self, sha256: str) -> str:
        """Of everything that must be the same for a key to be used again."""
        sent = [sha256, self.domain, self.priority, self.webhook_url]
        return hashlib.sha256(json.dumps(sent).encode()).hexdigest()


class VideoController:
    """Videos of tenants; every job is looked for in the caller's scope only."""

    def __init__(self, services: VideoServices) -> None:
        self._services = services

    # --- a new video

    def require_acceptable(self, tenant_id: str, key: str | None, size: int | None) -> None:
        """Refuse a video before it is read where it could not be accepted anyway.

        :param key: the `Idempotency-Key`.
        :param size: of the whole form in bytes, as far as the client tells.
        :raises BadRequest: the key is no key; TooLarge; TooManyJobs; StoreUnavailable.
        """
        if key is not None and not _KEY.fullmatch(key):
            raise BadRequest("An Idempotency-Key is 1 to 200 visible ASCII characters.", code="invalid_idempotency_key")
        self._services.uploads.require_room(size)
        if key is None or self._services.jobs.of_key(tenant_id, key) is None:
            self._services.jobs.require_room(tenant_id)

    def receiving(self) -> AbstractContextManager[IncomingUpload]:
        """Where the video is written to while it arrives; gone at the end unless it was submitted."""
        return self._services.uploads.receiving()

    def submit(self, upload: IncomingUpload, submission: Submission) -> tuple[Job, bool]:
        """Make a job of an upload that is complete; whether it is a new one.

        :raises UnsupportedVideo: it is no video; TooLarge: it is longer, or its frames larger, than is allowed.
        :raises Conflict: its key came with another upload before.
        :raises WebhookRefused: no webhook goes to that address.
        """
        if submission.webhook_url is not None:
            self._services.check_webhook(submission.webhook_url)
        upload.complete()
        new = self._new_job(upload, submission)
        upload.keep(self._services.uploads.path(new.upload))
        job, is_new = self._created(new)
        if is_new:
            self._defer(job)
        return job, is_new

    def _new_job(self, upload: IncomingUpload, submission: Submission) -> NewJob:
        job_id = uuid.uuid4().hex
        return NewJob(
            job_id=job_id,
            upload=job_id,
            upload_bytes=upload.size,
            facts=self._services.probe(upload.path),
            spec_key=self._services.spec_key(),
            idempotency_digest=submission.digest(upload.sha256),
            **asdict(submission),
        )

    def _created(self, new: NewJob) -> tuple[Job, bool]:
        try:
            job, is_new = self._services.jobs.create(new)
        except StoreUnavailable:
            raise  # the job may be there, only the answer was lost; else the upload is removed as one that is nobody's
        except Exception:
            self._services.uploads.remove(new.upload)
            raise
        if not is_new:
            self._services.uploads.remove(new.upload)
        return job, is_new

    def _defer(self, job: Job) -> None:
        try:
            self._services.defer()
        except StoreUnavailable as error:  # the job stands: a worker finds that it lacks a ticket
            log.warning("video.not_deferred", job_id=job.job_id, reason=error.message)

    # --- jobs

    def status(self, scope: JobScope, job_id: str) -> Document:
        """:raises NotFound: there is no such job in the scope."""
        return self._services.jobs.get(scope, job_id).to_document()

    def jobs(self, scope: JobScope, state: JobState | None, limit: int, offset: int) -> Document:
        """A page of the scope's jobs, newest first."""
        jobs, total = self._services.jobs.page(scope, state, limit, offset)
        return {"jobs": [job.to_document() for job in jobs], "total": total, "limit": limit, "offset": offset}

    def cancel(self, scope: JobScope, job_id: str) -> Document:
        """:raises NotFound: there is no such job in the scope; Conflict: it has ended."""
        job = self._services.jobs.cancel(scope, job_id)
        if job.is_finished:  # it waited still, and no worker will see to it
            self._services.uploads.remove(job.upload)
        return job.to_document()

    def delete(self, scope: JobScope, job_id: str, actor: str) -> Document:
        """Remove a job with all that belongs to it; the receipt.

        :raises NotFound: there is no such job in the scope.
        """
        job = self._services.jobs.get(scope, job_id)
        return self._services.removal.remove(job, actor).to_json()

    # --- what was found

    def results(self, scope: JobScope, job_id: str) -> Document:
        """:raises NotFound: there is no such job in the scope; Conflict: there are no results, yet or at all."""
        return self._services.results.of(self._done(scope, job_id), scope)

    def profiles(self, scope: JobScope, job_id: str, cluster_id: int, include_image: bool) -> Document:
        """:raises NotFound: no such job or identity; Conflict: as `results`."""
        return self._services.results.profiles(self._done(scope, job_id), cluster_id, include_image)

    def crop(self, scope: JobScope, job_id: str, name: str) -> bytes:
        """A JPEG.

        :raises NotFound: no such job or crop.
        """
        job, named = self._services.jobs.get(scope, job_id), _CROP.fullmatch(name)
        if named is None:
            raise crop_unknown()
        key = self._services.results.crop_key(job, int(named[1]), int(named[2]))
        crop = self._services.objects.get(key)
        if crop is None:
            raise NotFound("This crop is gone.", code="crop_unknown")
        return crop

    def _done(self, scope: JobScope, job_id: str) -> Job:
        job = self._services.jobs.get(scope, job_id)
        if not job.is_finished:
            raise Conflict(
                "The video is not processed yet; see /v3/status.", code="not_ready", details={"state": str(job.state)}
            )
        if job.state is not JobState.DONE:
            reason = job.error.message if job.error else "It was cancelled."
            raise Conflict(
                f"The video has no results. {reason}", code=f"job_{job.state}", details={"state": str(job.state)}
            )
        return job
