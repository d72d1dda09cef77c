"""The write side of the embedded stores of profile search, for `scripts.profile_index`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import EmbeddingSpec
from app.services.profiles import profiles_sql as sql
from app.services.profiles.binary_faces import stage_faces
from app.services.profiles.postgres_profiles import EVERY_FACE, held_faces, nearest_entities
from app.services.profiles.records import ProfileHit
from app.services.profiles.writing import ProfileDocument, ProfileFace
from app.services.stored_values import register_spec, vector_of

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

_TIMEOUT_S = 120.0
_BUILD_TIMEOUT_S = 4 * 3600.0
_EFFORTS = (40, 100, 200, 400, 800)  # values of hnsw.ef_search
_HNSW = {"m": 16, "ef_construction": 200}  # as the galleries' indexes


class PostgresVectorWriter:
    """Implements `VectorWriter` over `profile_faces`, for one spec."""

    def __init__(self, database: Database, spec: EmbeddingSpec) -> None:
        self._database = database
        self._spec = spec

    def create(self, dimensions: int) -> None:
        """Nothing: the table is made by the migrations, and the dimensions are the spec's."""

    def present(self, entity_ids: Sequence[str]) -> set[str]:
        """Those of the entities that have faces of the spec."""
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(sql.WITH_FACES, self._scope(cursor) | {"entities": list(entity_ids)})
            return {entity_id for (entity_id,) in cursor.fetchall()}

    def replace(self, faces: Sequence[ProfileFace]) -> None:
        """Write the entities' faces in one transaction."""
        if not faces:
            return
        with self._database.bulk_transaction(_TIMEOUT_S) as cursor:
            scope = self._scope(cursor)
            cursor.execute(sql.DELETE_FACES, scope | {"entities": [face.entity_id for face in faces]})
            stage_faces(cursor, faces)
            cursor.execute(sql.INSERT_STAGED, scope)

    def finish(self) -> None:
        """Build the HNSW index unless there is one: some ten minutes for a million faces, while writers wait."""
        with self._database.transaction(_BUILD_TIMEOUT_S) as cursor:
            shape = self._scope(cursor) | {"dimensions": self._spec.dimensions} | _HNSW
            cursor.execute(sql.CREATE_INDEX.format(name=f"{sql.INDEX_PREFIX}{self._spec.key}"), shape)
            cursor.execute(sql.ANALYZE)

    def count(self) -> int:
        """Faces of the spec."""
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(sql.COUNT_FACES, self._scope(cursor))
            ((faces,),) = cursor.fetchall()
        return int(faces)

    def sample(self, size: int) -> list[ProfileFace]:
        """Faces from all over the table, the same ones each time."""
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(sql.SAMPLE, self._scope(cursor) | {"rows": size})
            rows = cursor.fetchall()
        return [ProfileFace(entity, position, vector_of(sent), center) for entity, position, center, sent in rows]

    def exact(self, probes: NDArray[np.float32], top_k: int) -> list[list[ProfileHit]]:
        """The nearest entities, by measuring every face."""
        return self.nearest_with(EVERY_FACE, probes, top_k)

    def efforts(self) -> tuple[int, ...]:
        """Values of `ef_search`; none where there is no index."""
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            held = held_faces(cursor, self._spec)
        return _EFFORTS if held is not None and held.indexed_rows is not None else ()

    def nearest_with(self, effort: int, probes: NDArray[np.float32], top_k: int) -> list[list[ProfileHit]]:
        """The nearest entities, by an index search with this `ef_search`, however few faces there are."""
        with self._database.transaction(_TIMEOUT_S) as cursor:
            return nearest_entities(cursor, self._scope(cursor)["spec_id"], probes, top_k, effort)

    def _scope(self, cursor: Cursor) -> dict[str, int]:
        return {"spec_id": register_spec(cursor, self._spec)}


class PostgresDocumentWriter:
    """Implements `DocumentWriter` over `profile_documents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self) -> None:
        """Nothing: the table is made by the migrations."""

    def present(self, entity_ids: Sequence[str]) -> set[str]:
        """Those of the entities that have a document."""
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.WITH_DOCUMENTS, {"entities": list(entity_ids)})
            return {entity_id for (entity_id,) in cursor.fetchall()}

    def upsert(self, documents: Sequence[ProfileDocument]) -> None:
        """Write the documents in one transaction."""
        rows = {
            "entities": [document.entity_id for document in documents],
            "recognizers": [document.recognizer_id for document in documents],
            "parents": [document.parent_id for document in documents],
            "groups": [document.group_id for document in documents],
            "metadata": [json.dumps(document.metadata) for document in documents],
        }
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(sql.UPSERT_DOCUMENTS, rows)

    def count(self) -> int:
        """Documents of all entities."""
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.COUNT_DOCUMENTS)
            ((documents,),) = cursor.fetchall()
        return int(documents)
