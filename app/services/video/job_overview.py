"""Jobs as the console shows them beside each other: how many there are, which run, and a face of each identity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from app.services.video import job_overview_sql as sql
from app.services.video.job_records import Job, JobScope, JobState
from app.services.video.job_store import job_of

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class JobCover:
    """What a job is known by.

    :param identities: those of which there is a picture, by `cluster_id`, without the outliers.
    """

    job_id: str
    created_at: datetime
    identities: tuple[int, ...]


class JobOverview:
    """Reads what the console shows; raises `StoreUnavailable` where the database cannot be asked.

    A scope without a tenant is everybody's, except for `covers`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self, scope: JobScope) -> dict[JobState, int]:
        """How many jobs there are in each state, in the order in which a job goes through them."""
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.COUNTS, scope.to_row())
            found = {JobState(state): int(count) for state, count in cursor.fetchall()}
        return {state: found.get(state, 0) for state in JobState}

    def running(self, scope: JobScope, limit: int) -> list[Job]:
        """Jobs that are worked on, the oldest first."""
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.RUNNING, scope.to_row() | {"limit": limit})
            return [job_of(row) for row in cursor.fetchall()]

    def tenants(self, scope: JobScope) -> list[str]:
        """Whoever has a job, by name."""
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.TENANTS, scope.to_row())
            return [tenant_id for (tenant_id,) in cursor.fetchall()]

    def covers(self, scope: JobScope, job_ids: Iterable[str]) -> dict[str, JobCover]:
        """Those of the jobs that are in the scope, by id."""
        asked = scope.to_row() | {"job_ids": sorted(set(job_ids))}
        created, pictured = {}, defaultdict(list)
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.COVERS, asked)
            for job_id, created_at, cluster_id in cursor.fetchall():
                created[job_id] = created_at
                if cluster_id is not None:
                    pictured[job_id].append(cluster_id)
        return {job_id: JobCover(job_id, at, tuple(pictured[job_id])) for job_id, at in created.items()}

    def has_profile_photo(self, job: Job, key: str) -> bool:
        """Whether a profile that the job's identities match names this photo; no other may be asked for."""
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.HAS_PHOTO, {"job_id": job.job_id, "key": key})
            return cursor.fetchone() is not None
