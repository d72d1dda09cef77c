"""What bulk loads have done, as far as the database knows: one line per domain and spec."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_LIMIT_S = 5.0

_LOADS = """
SELECT r.domain, s.key, count(*), count(*) FILTER (WHERE r.outcome = 'done'),
       count(*) FILTER (WHERE r.processed_at > now() - interval '1 hour'), min(r.processed_at), max(r.processed_at)
FROM processed_images AS r JOIN embedding_specs AS s ON s.id = r.spec_id
GROUP BY r.domain, s.key ORDER BY max(r.processed_at) DESC
"""

_REFUSED = """
SELECT r.domain, s.key, r.outcome, count(*)
FROM processed_images AS r JOIN embedding_specs AS s ON s.id = r.spec_id
WHERE r.outcome <> 'done' GROUP BY r.domain, s.key, r.outcome ORDER BY count(*) DESC
"""


@dataclass(frozen=True, slots=True)
class BulkLoad:
    """The images of a domain that a bulk load has looked at.

    :param last_hour: how many of them within the last hour; 0 means that nothing is running.
    :param refused: why images were not enrolled -> how many.
    """

    domain: str
    spec_key: str
    images: int
    enrolled: int
    last_hour: int
    first_at: datetime
    last_at: datetime
    refused: dict[str, int]


def recent_loads(database: Database) -> list[BulkLoad]:
    """All of them, the latest first.

    :raises StoreUnavailable: the database cannot be asked.
    """
    with database.transaction(_LIMIT_S, read_only=True) as cursor:
        cursor.execute(_REFUSED)
        refused: dict[tuple[str, str], dict[str, int]] = {}
        for domain, key, outcome, count in cursor.fetchall():
            refused.setdefault((domain, key), {})[outcome] = count
        cursor.execute(_LOADS)
        return [
            BulkLoad(domain, key, images, enrolled, last_hour, first_at, last_at, refused.get((domain, key), {}))
            for domain, key, images, enrolled, last_hour, first_at, last_at in cursor.fetchall()
        ]
