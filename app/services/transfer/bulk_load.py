"""Loads many faces into the database: binary COPY into a staging table, then one upsert. For scripts."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from app.domain import EmbeddingSpec, GalleryFace, check_domain_name
from app.errors import SpecMismatch
from app.services.stored_values import is_storable_text, register_spec
from app.services.transfer import bulk_load_sql as sql
from app.services.transfer.binary_copy import Scope, binary_rows
from app.services.vector_db_service import AddReport
from app.services.vector_db_sql import ADD_PERSONS

if TYPE_CHECKING:
    from app.adapters.postgres import CopyCursor, Database

ROWS_AT_A_TIME = 10_000  # a good size for one `load`: 20 MB at 512 dimensions
_PIECE = 1 << 20  # bytes handed to the driver at a time

log = structlog.get_logger(__name__)


class BulkLoader:
    """Adds faces as `VectorDbService.add_faces` does, many times as fast.

    :param database: where transactions come from; while one is open, this process waits for the server without a
        deadline of its own (see `Database.bulk_transaction`), so a web worker must not load in bulk.
    :param spec: the spec of every vector that is loaded.
    """

    def __init__(self, database: Database, spec: EmbeddingSpec) -> None:
        self._database = database
        self._spec = spec

    def transaction(self, timeout_s: float = 600.0) -> AbstractContextManager[CopyCursor]:
        """A transaction for `load`, and for whatever shall be committed together with the faces.

        :param timeout_s: for each statement.
        :raises StoreUnavailable, StoreTimeout: as `Database.bulk_transaction`.
        """
        return self._database.bulk_transaction(timeout_s)

    def load(self, cursor: CopyCursor, domain: str, faces: Iterable[GalleryFace]) -> AddReport:
        """Add faces, or replace those of the same image and box; doing it twice changes nothing.

        All faces are held in memory; of many, hand over ROWS_AT_A_TIME. A face without `image_sha256` does not erase
        the one that is stored with the same vector.

        :raises BadRequest: the domain's name cannot be one.
        :raises SpecMismatch: an embedding has other dimensions than the spec.
        :raises StoreUnavailable: the database failed; nothing of this transaction was added.
        """
        check_domain_name(domain)
        given = list(faces)
        rows, embeddings = self._storable(given)
        scope = self._scope(cursor, domain, {face.person for face in rows})
        inserted, updated = upsert(cursor, binary_rows(scope, rows, embeddings))
        report = AddReport(inserted, updated, len(rows) - inserted - updated, len(given) - len(rows))
        if report.left_out:
            log.warning("pgvector.faces_left_out", count=report.left_out)
        return report

    def _storable(self, given: Sequence[GalleryFace]) -> tuple[list[GalleryFace], NDArray[np.float32]]:
        """The faces the database can hold, of each image and box the last, and their vectors."""
        embeddings = self._matrix(given)
        with np.errstate(over="ignore"):
            squared_lengths = np.sum(np.square(embeddings), axis=1)
        has_length = np.isfinite(squared_lengths) & (squared_lengths > 0)
        last = {
            (f.image, f.box): n for n, f in enumerate(given) if has_length[n] and is_storable_text(f.person + f.image)
        }
        return [given[n] for n in last.values()], embeddings[list(last.values())]

    def _matrix(self, faces: Sequence[GalleryFace]) -> NDArray[np.float32]:
        dimensions = self._spec.dimensions
        wrong = next((len(face.embedding) for face in faces if len(face.embedding) != dimensions), None)
        if wrong is not None:
            raise SpecMismatch(
                f"An embedding of {wrong} numbers does not belong to {self._spec.model}, which makes {dimensions}: "
                "embed it with the FACE_MODEL that is set."
            )
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is left out
            return np.array([face.embedding for face in faces], dtype=np.float32).reshape(-1, dimensions)

    def _scope(self, cursor: CopyCursor, domain: str, persons: set[str]) -> Scope:
        spec_id = register_spec(cursor, self._spec)
        names = {"domain": domain, "names": sorted(persons)}
        cursor.execute(ADD_PERSONS, names)
        cursor.execute(sql.PERSON_IDS, names)
        return Scope(domain, spec_id, dict(cursor.fetchall()))


def upsert(cursor: CopyCursor, stream: bytes) -> tuple[int, int]:
    """COPY rows into a staging table and take over those that are new or differ; how many of each."""
    cursor.execute(sql.CREATE_STAGING)
    cursor.copy_expert(sql.COPY_STAGING, io.BytesIO(stream), _PIECE)
    cursor.execute(sql.UPSERT_STAGING)
    ((inserted, updated),) = cursor.fetchall()
    cursor.execute(sql.DROP_STAGING)
    return inserted, updated
