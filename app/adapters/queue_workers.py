"""Which workers of the queue are alive: a table of procrastinate's tells it, without procrastinate being loaded."""

from __future__ import annotations

import math

from app.adapters.postgres import Database

_LIMIT_S = 1.0
_PER_PROCESS = 2  # one for videos and one for webhooks, see job_queue.py
_HEARD = """
SELECT count(*) FROM procrastinate.procrastinate_workers
WHERE last_heartbeat > now() - make_interval(secs => %(seconds)s)
"""


def workers_heard(database: Database, within_s: float) -> int:
    """How many worker processes were heard of in the last seconds.

    :raises StoreUnavailable: the database cannot be asked; StoreTimeout: within a second.
    """
    with database.transaction(_LIMIT_S, read_only=True) as cursor:
        cursor.execute(_HEARD, {"seconds": within_s})
        ((count,),) = cursor.fetchall()
    return math.ceil(int(count) / _PER_PROCESS)
