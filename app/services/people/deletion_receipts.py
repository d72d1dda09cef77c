"""The receipts of deletions, to be shown again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.errors import NotFound

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_LIMIT_S = 5.0

_RECEIPT = """
SELECT id::text, deleted_at, actor, counts, completed_at FROM deletion_receipts
WHERE id = %(id)s::uuid AND domain = %(domain)s
"""


class DeletionReceipts:
    """What was kept of deletions: no name, no photo, no vector."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, domain: str, receipt_id: str) -> dict[str, Any]:
        """`receipt_id`, `deleted_at`, `actor`, `counts` and `completed_at`, which is None where something is left.

        :param receipt_id: a UUID.
        :raises NotFound: the domain has no such receipt.
        """
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(_RECEIPT, {"id": receipt_id, "domain": domain})
            row = cursor.fetchone()
        if row is None:
            raise NotFound("This domain has no such receipt.", code="receipt_unknown")
        return dict(zip(("receipt_id", "deleted_at", "actor", "counts", "completed_at"), row, strict=True))
