"""Bulk loads and imports while they run: how far they are, for whoever looks from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import structlog

from app.errors import StoreUnavailable

if TYPE_CHECKING:
    from app.adapters.postgres import Database

log = structlog.get_logger(__name__)

_LIMIT_S = 5.0
_EVERY_S = 1.0

_BEGIN = "INSERT INTO bulk_runs (kind, domain) VALUES (%(kind)s, %(domain)s) RETURNING id"
_FORGET = "DELETE FROM bulk_runs WHERE updated_at < now() - interval '30 days'"
_PROGRESS = "UPDATE bulk_runs SET done = %(done)s, total = %(total)s, updated_at = now() WHERE id = %(id)s"
_END = """
UPDATE bulk_runs SET done = %(done)s, total = %(total)s, updated_at = now(), ended = %(ended)s WHERE id = %(id)s
"""
# A run that said nothing for two minutes has died: the slowest photo takes a few seconds.
_RECENT = """
SELECT kind, domain, total, done, started_at, updated_at,
       coalesce(ended, CASE WHEN updated_at < now() - interval '2 minutes' THEN 'stopped' ELSE 'running' END)
FROM bulk_runs ORDER BY updated_at DESC LIMIT 20
"""

Kind = Literal["embedding", "pkl_import"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BulkRun:
    """A run as it was last heard of.

    :param total: images of an embedding, faces of an import; 0 while that is not known.
    :param state: `stopped` where it was interrupted, or its process died.
    """

    kind: Kind
    domain: str
    total: int
    done: int
    started_at: datetime
    updated_at: datetime
    state: Literal["running", "done", "stopped"]

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None where that cannot be told."""
        if self.state != "running" or not self.done:
            return None
        return (self.updated_at - self.started_at).total_seconds() * (self.total - self.done) / self.done


class BulkRuns:
    """The runs of all hosts. Noting one never stops it: where the database does not take it, it is left out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recent(self) -> list[BulkRun]:
        """The latest twenty, those that were heard of last first.

        :raises StoreUnavailable: the database cannot be asked.
        """
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(_RECENT)
            return [BulkRun(*row) for row in cursor.fetchall()]

    @contextmanager
    def running(self, kind: Kind, domain: str) -> Iterator[Progress]:
        """A run that lasts as long as the block, which tells how many of how many are through."""
        run = _Run(self._database, self._begun(kind, domain))
        try:
            yield run.progress
        except BaseException:
            run.end("stopped")
            raise
        run.end("done" if run.is_through else "stopped")

    def _begun(self, kind: Kind, domain: str) -> int | None:
        try:
            with self._database.transaction(_LIMIT_S) as cursor:
                cursor.execute(_FORGET)
                cursor.execute(_BEGIN, {"kind": kind, "domain": domain})
                ((number,),) = cursor.fetchall()
        except StoreUnavailable as error:
            log.warning("bulk_run.not_noted", reason=error.message)
            return None
        return int(number)


class _Run:
    def __init__(self, database: Database, number: int | None) -> None:
        self._database = database
        self._number = number
        self._done = self._total = 0
        self._next = 0.0

    @property
    def is_through(self) -> bool:
        return self._done >= self._total

    def progress(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_S
            self._note(_PROGRESS, {})

    def end(self, how: str) -> None:
        self._note(_END, {"ended": how})

    def _note(self, statement: str, more: dict[str, str]) -> None:
        if self._number is None:
            return
        try:
            with self._database.transaction(_LIMIT_S) as cursor:
                cursor.execute(statement, {"id": self._number, "done": self._done, "total": self._total} | more)
        except StoreUnavailable as error:
            log.warning("bulk_run.not_noted", reason=error.message)
