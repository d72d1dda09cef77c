"""The one writer of a bulk embedding: faces and records of a batch, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from app.domain import EmbeddingSpec
from app.services.ingest import sql
from app.services.ingest.catalogue import Duplicate, ImageRecord, Refresh, Relocate, Step, Store
from app.services.ingest.embedding import FacePolicy, ImageOutcome
from app.services.ingest.images import FoundImage
from app.services.stored_values import register_spec

if TYPE_CHECKING:
    from app.adapters.postgres import CopyCursor, Database
    from app.services.transfer.bulk_load import BulkLoader

_READ_TIMEOUT_S = 60.0
_FLUSH_AFTER_S = 5.0  # a slow model must not leave minutes of work in memory

Write = Callable[["CopyCursor", dict[str, Any], Sequence[Any]], None]


class IngestWriter:
    """Collects steps and writes them in order, `batch_size` at a time: a kill loses the batch, never a half of it.

    :param loader: of the same database and spec.
    """

    def __init__(
        self, database: Database, spec: EmbeddingSpec, loader: BulkLoader, domain: str, batch_size: int
    ) -> None:
        self._database = database
        self._spec = spec
        self._loader = loader
        self._domain = domain
        self._batch_size = batch_size
        self._batch: list[Step] = []
        self._flushed_at = time.monotonic()

    def records(self) -> list[ImageRecord]:
        """What is known of the domain's images.

        :raises StoreUnavailable: the database cannot be asked.
        """
        with self._database.transaction(_READ_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.RECORDS, {"key": self._spec.key, "domain": self._domain})
            return [_record(*row) for row in cursor.fetchall()]

    def add(self, step: Step) -> None:
        """Write the step with its batch, now or later.

        :raises StoreUnavailable: the batch could not be written; nothing of it was.
        """
        self._batch.append(step)
        if len(self._batch) >= self._batch_size or time.monotonic() - self._flushed_at > _FLUSH_AFTER_S:
            self.flush()

    def flush(self) -> None:
        """Write what was added, in one transaction.

        :raises StoreUnavailable: it could not be written; nothing of it was.
        """
        if self._batch:
            with self._loader.transaction() as cursor:
                self._write(cursor, self._batch)
            self._batch = []
        self._flushed_at = time.monotonic()

    def _write(self, cursor: CopyCursor, steps: Sequence[Step]) -> None:
        # Here too: a batch of nothing but failures comes without a face that would register the spec.
        scope = {"spec_id": register_spec(cursor, self._spec), "domain": self._domain}
        writers: dict[type[Step], Write] = {
            Store: self._store,
            Refresh: _refresh,
            Relocate: _relocate,
            Duplicate: _duplicate,
        }
        for kind, alike in groupby(steps, type):
            writers[kind](cursor, scope, list(alike))

    def _store(self, cursor: CopyCursor, scope: dict[str, Any], steps: Sequence[Store]) -> None:
        faces = [face for step in steps for face in step.faces]
        kept = {"kept": [face.image for face in faces]}
        kept |= {side: [getattr(face.box, side) for face in faces] for side in "xywh"}
        images = {"images": [step.record.image.path for step in steps]}
        cursor.execute(sql.DELETE_STALE_FACES, scope | kept | images)
        if faces:
            self._loader.load(cursor, self._domain, faces)
        _refresh(cursor, scope, steps)


def _refresh(cursor: CopyCursor, scope: dict[str, Any], steps: Sequence[Step]) -> None:
    records = [step.record for step in steps]
    columns: dict[str, list[Any]] = {
        "path": [r.image.path for r in records],
        "person": [r.image.person for r in records],
        "size_bytes": [r.image.size for r in records],
        "mtime_ns": [r.image.mtime_ns for r in records],
        "content_sha256": [r.sha256 for r in records],
        "outcome": [str(r.outcome) for r in records],
        "reason": [r.reason for r in records],
        "policy": [str(r.policy) for r in records],
        "faces_found": [r.faces_found for r in records],
        "faces_stored": [r.faces_stored for r in records],
    }
    cursor.execute(sql.UPSERT_RECORDS, scope | columns)


def _relocate(cursor: CopyCursor, scope: dict[str, Any], steps: Sequence[Relocate]) -> None:
    for step in steps:
        _replace_faces(cursor, scope, step, sql.MOVE_FACES)
        cursor.execute(sql.DELETE_RECORD, scope | {"source": step.source.path})
    _refresh(cursor, scope, steps)


def _duplicate(cursor: CopyCursor, scope: dict[str, Any], steps: Sequence[Duplicate]) -> None:
    for step in steps:
        _replace_faces(cursor, scope, step, sql.COPY_FACES)
    _refresh(cursor, scope, steps)


def _replace_faces(cursor: CopyCursor, scope: dict[str, Any], step: Relocate | Duplicate, how: str) -> None:
    image = step.record.image
    values = scope | {
        "path": image.path,
        "person": image.person,
        "source": step.source.path,
        "is_other_person": image.person != step.source.person,
    }
    cursor.execute(sql.DELETE_FACES, values)
    cursor.execute(sql.ADD_PERSON, values)
    cursor.execute(how, values)


def _record(*row: Any) -> ImageRecord:
    path, size, mtime_ns, sha256, outcome, reason, policy, found, stored = row
    image = FoundImage(path, size, mtime_ns)
    return ImageRecord(image, sha256, ImageOutcome(outcome), reason, FacePolicy(policy), found, stored)
