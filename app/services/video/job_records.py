"""The nouns of video jobs: what is asked for, and how far it has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.errors import AppError
from app.services.video.records import VideoFacts

FIRST_STAGE = "waiting"  # of a job that no worker has taken up yet

_MIN_PERCENT = 1.0  # before that, how long the rest takes is a guess


class JobState(StrEnum):
    """What has become of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether it stays so."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobScope:
    """Whose jobs somebody may see and change: a job belongs to a tenant and to a domain.

    :param tenant_id: None for everybody's, which only an overview knows; no single job is found by it.
    :param domains: None for all.
    """

    tenant_id: str | None
    domains: tuple[str, ...] | None

    def to_row(self) -> dict[str, Any]:
        """The parameters of `job_sql.IN_SCOPE`."""
        return {"tenant_id": self.tenant_id, "domains": None if self.domains is None else list(self.domains)}


class JobCancelled(AppError):
    """The job was cancelled or deleted, or another worker has taken it up: whoever works on it stops."""

    code, status = "job_cancelled", 409


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, as whoever sent it reads it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """An upload that was accepted.

    :param upload: the name of its file in the folder of uploads.
    :param created_by: a token's id.
    :param idempotency_digest: of what came with the key; a key that comes with something else is refused.
    """

    job_id: str
    tenant_id: str
    domain: str
    upload: str
    upload_bytes: int
    facts: VideoFacts
    spec_key: str
    request_id: str
    created_by: str | None = None
    priority: int = 0
    idempotency_key: str | None = None
    idempotency_digest: str | None = None
    webhook_url: str | None = None

    def to_row(self) -> dict[str, Any]:
        """Its columns."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `jobs`.

    :param attempts: which attempt works, or worked, on it; from 1.
    :param ticket: the queue's entry that has it; None before the first attempt, and when it has ended.
    :param percent: 0 to 100.
    :param facts: of the video, as `VideoFacts` has them.
    :param started_at: when the attempt began.
    """

    job_id: str
    tenant_id: str
    domain: str
    state: JobState
    stage: str
    percent: float
    frames_done: int
    frames_total: int | None
    faces: int
    priority: int
    attempts: int
    ticket: int | None
    cancel_requested: bool
    upload: str
    upload_bytes: int
    facts: VideoFacts
    spec_key: str
    request_id: str
    idempotency_digest: str | None
    webhook_url: str | None
    webhook_state: str | None
    webhook_attempts: int
    profile_search: dict[str, Any] | None
    gallery_search: dict[str, Any] | None
    link_search: dict[str, Any] | None
    error: JobError | None
    created_at: datetime
    started_at: datetime | None
    progressed_at: datetime
    finished_at: datetime | None

    @property
    def is_finished(self) -> bool:
        return self.state.is_final

    def seconds_left(self, now: datetime) -> float | None:
        """How long it takes still, by how long it took so far; None where nobody can say yet."""
        if self.state is not JobState.RUNNING or self.started_at is None or self.percent < _MIN_PERCENT:
            return None
        taken_s = max(0.0, (now - self.started_at).total_seconds())
        return round(taken_s * (100.0 - self.percent) / self.percent, 1)

    def to_document(self) -> dict[str, Any]:
        """What `/v3/status` tells; times in ISO 8601."""
        return {
            "job_id": self.job_id,
            "tenant_id": self.tenant_id,
            "domain": self.domain,
            "state": str(self.state),
            "stage": self.stage,
            "percent": round(self.percent, 1),
            "frames_done": self.frames_done,
            "frames_total": self.frames_total,
            "faces": self.faces,
            "seconds_left": self.seconds_left(datetime.now(UTC)),
            "attempts": self.attempts,
            "cancel_requested": self.cancel_requested,
            "webhook_state": self.webhook_state,
            "error": asdict(self.error) if self.error else None,
        } | self._times()

    def _times(self) -> dict[str, str | None]:
        times = {"created_at": self.created_at, "started_at": self.started_at, "finished_at": self.finished_at}
        return {name: at.isoformat(timespec="milliseconds") if at else None for name, at in times.items()}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a worker has come with a job.

    :param percent: 0 to 100.
    """

    stage: str
    percent: float
    frames_done: int = 0
    frames_total: int | None = None
    faces: int = 0
