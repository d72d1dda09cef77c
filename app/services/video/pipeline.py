"""A ticket of the queue becomes a finished job: the next in turn is claimed, worked on, and ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from structlog.contextvars import bound_contextvars

from app.errors import AppError, TooLarge, UnsupportedVideo
from app.services.video.job_records import Job, JobCancelled, JobError, JobState
from app.services.video.job_watch import JobInterrupted, JobWatch, Shutdown
from app.services.video.objects import crops_prefix
from app.services.video.stages import UPLOAD_LOST, VideoStages, VideoStores
from app.services.video.uploads import UploadFolder

_LONGEST_WAIT_S = 300.0
# What the video itself is at fault for. Anything else may go well another time: a wrongly set-up node gets mended.
_ITS_FAULT_STATUS = frozenset({TooLarge.status, UnsupportedVideo.status})
_ITS_FAULT_CODES = frozenset({UPLOAD_LOST})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How a job is treated.

    :param max_attempts: after which it has failed; one whose worker was killed counts.
    :param keep_upload: whether the video stays when its job has ended.
    :param retry_wait_s: after the first failed attempt; after each further one three times as long.
    :param patience_s: how long a store may be away before an attempt fails.
    """

    max_attempts: int
    keep_upload: bool
    retry_wait_s: float = 5.0
    patience_s: float = 60.0


class VideoPipeline:
    """Works on jobs, one per call.

    :param announce: puts the webhook of a job that has ended into the queue.
    """

    def __init__(
        self,
        stages: VideoStages,
        stores: VideoStores,
        uploads: UploadFolder,
        announce: Callable[[str], object],
        options: PipelineOptions,
    ) -> None:
        self._stages = stages
        self._stores = stores
        self._uploads = uploads
        self._announce = announce
        self._options = options

    def run(self, ticket: int, shutdown: Shutdown) -> float | None:
        """Work on the job whose turn it is.

        :return: in how many seconds the ticket is to come again; None where it is used up.
        :raises StoreUnavailable: the jobs cannot be asked; nothing has begun.
        """
        job = self._stores.jobs.claim(ticket)
        if job is None:
            return None
        with bound_contextvars(job_id=job.job_id, request_id=job.request_id):
            if job.attempts > self._options.max_attempts:
                self._give_up(job, JobState.FAILED, _LOST)
                return None
            return self._attempt(job, shutdown)

    def _attempt(self, job: Job, shutdown: Shutdown) -> float | None:
        began = time.monotonic()
        try:
            self._complete(job, JobWatch(self._stores.jobs, job, shutdown, self._options.patience_s))
        except JobCancelled:
            self._give_up(job, JobState.CANCELLED)
        except JobInterrupted:
            log.info("video.handed_back", attempt=job.attempts)
            self._stores.jobs.release(job)
            return 0.0
        except AppError as error:
            return self._failed(job, error)
        except Exception:
            log.exception("video.attempt_broke", attempt=job.attempts)
            return self._failed(job, _unexpected())
        else:
            log.info("video.done", attempt=job.attempts, seconds=round(time.monotonic() - began, 2))
        return None

    def _complete(self, job: Job, watch: JobWatch) -> None:
        """Where this process dies behind `finish`, retention removes the upload, and a sweep finds the webhook."""
        self._stages.work(job, self._uploads.path(job.upload), watch)
        watch.enter("publishing")
        if watch.patiently(partial(self._stores.jobs.finish, job, JobState.DONE)):
            self._let_go(job)

    def _failed(self, job: Job, error: AppError) -> float | None:
        """What the video itself is at fault for fails at once; anything else is tried again, a few times."""
        reason = JobError(error.error_code, error.message)
        log.warning("video.attempt_failed", attempt=job.attempts, code=reason.code, reason=reason.message)
        if _is_its_own_fault(error) or job.attempts >= self._options.max_attempts:
            self._give_up(job, JobState.FAILED, reason)
            return None
        self._stores.jobs.retry(job, reason)
        return float(min(_LONGEST_WAIT_S, self._options.retry_wait_s * 3 ** (job.attempts - 1)))

    def _give_up(self, job: Job, state: JobState, error: JobError | None = None) -> None:
        """End the job without a result, unless it is another attempt's by now, and remove what was written for it."""
        ended = self._stores.jobs.finish(job, state, error)
        if not ended and self._stores.jobs.known([job.job_id]):
            return
        self._stores.identities.clear(job)
        self._stores.objects.delete_prefix(crops_prefix(job.job_id))
        log.info("video.given_up", state=str(state) if ended else "deleted")
        self._let_go(job)

    def _let_go(self, job: Job) -> None:
        if not self._options.keep_upload:
            self._uploads.remove(job.upload)
        if job.webhook_url is not None:
            self._announce(job.job_id)


_LOST = JobError("worker_lost", "The worker ended in the middle of this video, more than once; it was given up.")


def _is_its_own_fault(error: AppError) -> bool:
    return error.status in _ITS_FAULT_STATUS or error.error_code in _ITS_FAULT_CODES


def _unexpected() -> AppError:
    return AppError("This video could not be worked on, for a reason that is ours; the log says which.")
