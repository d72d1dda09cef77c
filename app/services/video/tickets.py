"""What the queue lacks, by the jobs' rows: a crash between a job's row and its ticket must not lose the job."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import structlog

from app.services.video.job_records import FIRST_STAGE
from app.services.video.queue_work import Owed

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_LIMIT_S = 5.0
_WEBHOOK_GRACE_S = 30  # whoever ended the job puts its webhook into the queue himself, a moment later

# Such a job's ticket was lost: the queue was emptied by hand, or restored from elsewhere.
_FREE = """
UPDATE jobs SET state = 'queued', ticket = NULL, stage = %(stage)s
WHERE state IN ('queued', 'running') AND ticket IS NOT NULL AND NOT ticket = ANY(%(tickets)s::bigint[])
  AND progressed_at < now() - make_interval(secs => %(stalled_after_s)s)
"""
_LACKING = """
SELECT (SELECT count(*) FROM jobs WHERE state = 'queued' AND ticket IS NULL)
       - (cardinality(%(tickets)s::bigint[])
          - (SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND ticket = ANY(%(tickets)s::bigint[])))
"""
_WEBHOOKS = """
SELECT job_id FROM jobs
WHERE webhook_state = 'waiting' AND NOT job_id = ANY(%(webhooks)s::text[])
  AND finished_at < now() - make_interval(secs => %(grace_s)s)
"""

log = structlog.get_logger(__name__)


class Tickets:
    """Holds the queue against the jobs.

    :param stalled_after_s: a job that has moved since is left alone.
    """

    def __init__(self, database: Database, stalled_after_s: float) -> None:
        self._database = database
        self._stalled_after_s = stalled_after_s

    def owed(self, tickets: Collection[int], webhooks: Collection[str]) -> Owed:
        """What the queue lacks.

        A ticket that is put in while this looks makes one too many, which finds no job and is harmless.

        :param tickets: that are in the queue; `webhooks`: the jobs whose webhooks are.
        :raises StoreUnavailable: the database cannot be asked.
        """
        asked = {"tickets": list(tickets), "webhooks": list(webhooks), "stage": FIRST_STAGE}
        limits = {"stalled_after_s": self._stalled_after_s, "grace_s": _WEBHOOK_GRACE_S}
        with self._database.transaction(_LIMIT_S) as cursor:
            cursor.execute(_FREE, asked | limits)
            if cursor.rowcount:
                log.warning("video.tickets_lost", jobs=cursor.rowcount)
            cursor.execute(_LACKING, asked)
            ((lacking,),) = cursor.fetchall()
            cursor.execute(_WEBHOOKS, asked | limits)
            return Owed(max(0, int(lacking)), [job_id for (job_id,) in cursor.fetchall()])
