"""Which webhooks wait, and what became of them: columns of `jobs`."""

# ruff: noqa: S608 -- what is put into the statements are constants of ours

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from app.services.video import job_sql
from app.services.video.job_records import Job
from app.services.video.job_store import job_of

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_LIMIT_S = 5.0

_BEGIN = f"""
UPDATE jobs SET webhook_attempts = webhook_attempts + 1 WHERE job_id = %(job_id)s AND webhook_state = 'waiting'
RETURNING {job_sql.COLUMNS}
"""

_SETTLE = "UPDATE jobs SET webhook_state = %(state)s WHERE job_id = %(job_id)s AND webhook_state = 'waiting'"


class WebhookStore:
    """Reads and writes `webhook_state` and `webhook_attempts`.

    All methods raise `StoreUnavailable` where the database cannot be asked.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, job_id: str) -> Job | None:
        """The job with this attempt counted, if it is there and its webhook waits."""
        with self._database.transaction(_LIMIT_S) as cursor:
            cursor.execute(_BEGIN, {"job_id": job_id})
            row = cursor.fetchone()
        return None if row is None else job_of(row)

    def settle(self, job_id: str, state: Literal["delivered", "failed"]) -> None:
        """Note what became of a webhook that waits."""
        with self._database.transaction(_LIMIT_S) as cursor:
            cursor.execute(_SETTLE, {"job_id": job_id, "state": state})
