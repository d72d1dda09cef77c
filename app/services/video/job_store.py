"""The rows of `jobs`: made by an upload, claimed and moved on by workers, read by whoever waits for them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.errors import AppError, Conflict, NotFound
from app.services.video import job_sql as sql
from app.services.video.job_records import (
    FIRST_STAGE,
    Job,
    JobCancelled,
    JobError,
    JobScope,
    JobState,
    NewJob,
    Progress,
)
from app.services.video.records import VideoFacts

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

_LIMIT_S = 5.0


class TooManyJobs(AppError):
    """The tenant has as many unfinished jobs as it may have."""

    code, status = "too_many_jobs", 429


class JobStore:
    """Reads and writes jobs; every method is a transaction of its own.

    All raise `StoreUnavailable` where the database cannot be asked, and have then changed nothing.

    :param max_unfinished: jobs of one tenant that may wait or run at a time.
    """

    def __init__(self, database: Database, max_unfinished: int = 100) -> None:
        self.database = database
        self._max_unfinished = max_unfinished

    # --- whoever sends a video

    def create(self, new: NewJob) -> tuple[Job, bool]:
        """The job, and whether it is new: with a key that was used for the same upload before, that upload's job.

        :raises Conflict: code `idempotency_key_reused`: the key came with something else.
        :raises TooManyJobs: the tenant has its fill.
        """
        row = new.to_row() | {"facts": json.dumps(asdict(new.facts)), "stage": FIRST_STAGE}
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.LOCK_TENANT, row)
            known = _known(cursor, row)
            if known is not None:
                return _same_upload(known, new), False
            self._require_room(cursor, row)
            cursor.execute(sql.INSERT, row)
            return job_of(_only(cursor)), True

    def require_room(self, tenant_id: str) -> None:
        """:raises TooManyJobs: the tenant has its fill; `create` asks again."""
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            self._require_room(cursor, {"tenant_id": tenant_id})

    def of_key(self, tenant_id: str, idempotency_key: str) -> Job | None:
        """The job that was made with this key."""
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            return _known(cursor, {"tenant_id": tenant_id, "idempotency_key": idempotency_key})

    def get(self, scope: JobScope, job_id: str) -> Job:
        """:raises NotFound: there is no such job in the scope."""
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.ONE, {"job_id": job_id} | scope.to_row())
            row = cursor.fetchone()
        if row is None:
            raise _unknown()
        return job_of(row)

    def page(self, scope: JobScope, state: JobState | None, limit: int, offset: int) -> tuple[list[Job], int]:
        """The scope's jobs, newest first, and how many there are in all."""
        asked = scope.to_row() | {"state": state and str(state), "limit": limit, "offset": offset}
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.PAGE, asked)
            jobs = [job_of(row) for row in cursor.fetchall()]
            cursor.execute(sql.TOTAL, asked)
            return jobs, int(_only(cursor)[0])

    def cancel(self, scope: JobScope, job_id: str) -> Job:
        """A job that waits is cancelled at once; one that runs is told to stop, and its worker ends it.

        :raises NotFound: there is no such job in the scope.
        :raises Conflict: code `job_finished`.
        """
        with self.database.transaction(_LIMIT_S) as cursor:
            asked = {"job_id": job_id} | scope.to_row()
            cursor.execute(sql.CANCEL, asked)
            row = cursor.fetchone()
            if row is not None:
                return job_of(row)
            cursor.execute(sql.ONE, asked)
            if cursor.fetchone() is None:
                raise _unknown()
        raise Conflict("The job is finished already.", code="job_finished")

    def delete(self, job: Job, actor: str) -> dict[str, int]:
        """Remove the job with its rows everywhere and note it in the audit log; how many rows of what that were.

        Whoever still works on it stops at its next report.
        """
        asked = {"job_id": job.job_id, "tenant_id": job.tenant_id}
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.COUNTS, asked)
            names = ("identities", "face_crops", "identity_links", "profile_matches")
            counts = dict(zip(names, map(int, _only(cursor)), strict=True))
            cursor.execute(sql.DELETE, asked)
            counts = {"jobs": cursor.rowcount} | counts
            noted = {"actor": actor, "domain": job.domain, "action": "video.deleted", "subject": f"video {job.job_id}"}
            cursor.execute(sql.AUDIT, noted | {"counts": json.dumps(counts)})
        return counts

    # --- workers

    def claim(self, ticket: int) -> Job | None:
        """The job that this entry of the queue is to work on now, its attempts counted up; None where there is none.

        An entry that comes again goes on with the job it had. Any other, and one whose job has ended, gets the next job
        in a fair order: of the tenant whose last turn was longest ago what is most urgent, then what waited longest.
        """
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.LOCK_TURNS)
            job_id = _choose(cursor, ticket)
            if job_id is None:
                return None
            cursor.execute(sql.START, {"job_id": job_id, "ticket": ticket, "stage": "reading"})
            job = job_of(_only(cursor))
            cursor.execute(sql.SERVED, {"tenant_id": job.tenant_id})
            return job

    def progress(self, job: Job, progress: Progress) -> None:
        """Note how far this attempt has come.

        :raises JobCancelled: it must stop: the job was cancelled or deleted, or another attempt has begun.
        """
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.PROGRESS, _attempt(job) | asdict(progress))
            if not cursor.rowcount:
                raise JobCancelled("The job is not to be worked on any more.")

    def is_cancelled(self, job: Job) -> bool:
        """Whether this attempt must stop, for the reasons that `progress` raises."""
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.IS_ACTIVE, _attempt(job))
            return cursor.fetchone() is None

    def searched_profiles(self, job: Job, outcome: dict[str, Any]) -> None:
        """Note how the search of profiles went: `status` and `reason`."""
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.SET_PROFILE_SEARCH, _attempt(job) | {"profile_search": json.dumps(outcome)})

    def finish(self, job: Job, state: JobState, error: JobError | None = None) -> bool:
        """End the job; its webhook, where it has one, waits from now on. False where another attempt has begun."""
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.FINISH, _attempt(job) | {"state": str(state)} | _columns(error))
            return cursor.rowcount > 0

    def release(self, job: Job) -> bool:
        """Let any worker take the job up again, without costing it an attempt."""
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.RELEASE, _attempt(job) | {"stage": FIRST_STAGE})
            return cursor.rowcount > 0

    def retry(self, job: Job, error: JobError) -> bool:
        """The attempt failed and is not the last: the job waits until its ticket comes again."""
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.RETRY, _attempt(job) | {"stage": FIRST_STAGE} | _columns(error))
            return cursor.rowcount > 0

    # --- retention

    def expired(self, before: datetime, passed_over: Collection[str] = (), limit: int = 100) -> list[Job]:
        """Some of the jobs that were finished before then, the oldest first.

        :param passed_over: ids of jobs that are left out.
        """
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.EXPIRED, {"before": before, "passed_over": list(passed_over), "limit": limit})
            return [job_of(row) for row in cursor.fetchall()]

    def known(self, job_ids: Collection[str]) -> set[str]:
        """Those of the ids that jobs have."""
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.KNOWN, {"job_ids": list(job_ids)})
            return {job_id for (job_id,) in cursor.fetchall()}

    def unfinished(self, job_ids: Collection[str]) -> set[str]:
        """Those of the ids that jobs have which wait or run."""
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.UNFINISHED_OF, {"job_ids": list(job_ids)})
            return {job_id for (job_id,) in cursor.fetchall()}

    def _require_room(self, cursor: Cursor, row: dict[str, Any]) -> None:
        cursor.execute(sql.UNFINISHED, row)
        if int(_only(cursor)[0]) >= self._max_unfinished:
            raise TooManyJobs(
                f"This tenant has {self._max_unfinished} videos waiting or running, as many as it may have "
                "(VIDEO_TENANT_MAX_JOBS); send the next one when some are done."
            )


def _known(cursor: Cursor, row: dict[str, Any]) -> Job | None:
    if row["idempotency_key"] is None:
        return None
    cursor.execute(sql.BY_KEY, row)
    found = cursor.fetchone()
    return None if found is None else job_of(found)


def _same_upload(known: Job, new: NewJob) -> Job:
    if known.idempotency_digest != new.idempotency_digest:
        raise Conflict(
            "This Idempotency-Key was used for another upload; use a new key for each.", code="idempotency_key_reused"
        )
    return known


def _choose(cursor: Cursor, ticket: int) -> str | None:
    cursor.execute(sql.OF_TICKET, {"ticket": ticket})
    row = cursor.fetchone()
    if row is None:
        cursor.execute(sql.NEXT)
        row = cursor.fetchone()
    return None if row is None else str(row[0])


def _unknown() -> NotFound:
    return NotFound("There is no such job.", code="job_unknown")


def _attempt(job: Job) -> dict[str, Any]:
    return {"job_id": job.job_id, "started_at": job.started_at}


def _columns(error: JobError | None) -> dict[str, str | None]:
    return {"code": error.code if error else None, "message": error.message if error else None}


def _only(cursor: Cursor) -> tuple[Any, ...]:
    (row,) = cursor.fetchall()
    return row


def job_of(row: tuple[Any, ...]) -> Job:
    """The job of a row with `job_sql.COLUMNS`."""
    columns = dict(zip((name.strip() for name in sql.COLUMNS.split(",")), row, strict=True))
    code, message = columns.pop("error_code"), columns.pop("error_message")
    columns["error"] = JobError(code, message) if code else None
    columns["state"] = JobState(columns["state"])
    columns["facts"] = VideoFacts(**columns["facts"])
    return Job(**columns)
