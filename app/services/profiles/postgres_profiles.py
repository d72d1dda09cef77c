"""The embedded stores of profile search: faces and documents in the service's own Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS, EmbeddingSpec
from app.errors import SpecMismatch
from app.services.profiles import profiles_sql as sql
from app.services.profiles.records import ProfileHit
from app.services.stored_values import is_storable_text, vector_text

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

EXACT_MAX_ROWS = 20_000  # up to so many faces, measuring each takes no longer than the index, and misses none
EVERY_FACE = 0  # an `ef_search` that measures every face

# HNSW's search list, by how many faces are indexed: the shortest that finds 99 % of the five nearest, strangers among
# them, who lie close together (docs/performance.md, "Profile search"). Matches are found with a tenth of it.
_EF_SEARCH = 400
_EF_SEARCH_OF_MANY = 800
_MANY_ROWS = 100_000

_ROWS_PER_ENTITY = 4  # faces asked for in the first page, for each entity that is wanted
_PAGES = 3  # each four times as long as the one before
_WHAT_TO_DO = "Import the profiles again with this spec, or set the FACE_ settings to the one they were embedded with."


@dataclass(frozen=True, slots=True)
class Held:
    """The faces of the spec in use.

    :param indexed_rows: roughly how many the HNSW index holds; None where there is none.
    """

    spec_id: int
    indexed_rows: int | None


class PostgresProfileVectors:
    """Implements `ProfileVectors` over `profile_faces`.

    :param spec: the engine's; faces of another are never compared with its embeddings.
    """

    def __init__(self, database: Database, spec: EmbeddingSpec) -> None:
        self._database = database
        self._spec = spec

    def dimensions(self, timeout_s: float) -> int | None:
        """The spec's, where there are faces of it; None where there are none at all.

        :raises SpecMismatch: there are only faces of other specs.
        :raises StoreUnavailable, StoreTimeout: the database cannot be asked.
        """
        with self._database.transaction(timeout_s, read_only=True) as cursor:
            return None if held_faces(cursor, self._spec) is None else self._spec.dimensions

    def nearest(self, probes: NDArray[np.float32], top_k: int, timeout_s: float) -> list[list[ProfileHit]]:
        """For each probe the nearest entities, best first, each once.

        :param probes: (n, D) of unit length.
        :raises SpecMismatch, StoreUnavailable, StoreTimeout: as above.
        """
        with self._database.transaction(timeout_s, read_only=True) as cursor:
            held = held_faces(cursor, self._spec)
            if held is None:
                return [[] for _ in probes]
            return nearest_entities(cursor, held.spec_id, probes, top_k, effort_for(held.indexed_rows))

    def close(self) -> None:
        """Nothing: the database is the container's."""


class PostgresProfileDocuments:
    """Implements `ProfileDocuments` over `profile_documents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ping(self, timeout_s: float) -> None:
        """:raises StoreUnavailable, StoreTimeout: the database cannot be asked, or was not migrated."""
        with self._database.transaction(timeout_s, read_only=True) as cursor:
            cursor.execute(sql.PING)

    def metadata_of(self, entity_ids: Sequence[str], timeout_s: float) -> dict[str, list[Mapping[str, Any]]]:
        """`metadata` of each entity's document; an entity without one is left out.

        :raises StoreUnavailable, StoreTimeout: the database cannot be asked.
        """
        storable = [name for name in entity_ids if is_storable_text(name)]
        with self._database.transaction(timeout_s, read_only=True) as cursor:
            cursor.execute(sql.METADATA, {"entities": storable})
            return {entity_id: [metadata] for entity_id, metadata in cursor.fetchall()}

    def close(self) -> None:
        """Nothing: the database is the container's."""


def effort_for(indexed_rows: int | None) -> int:
    """The `ef_search` of a search among so many faces; EVERY_FACE where they are few, or without an index."""
    if indexed_rows is None or indexed_rows <= EXACT_MAX_ROWS:
        return EVERY_FACE
    return _EF_SEARCH if indexed_rows <= _MANY_ROWS else _EF_SEARCH_OF_MANY


def held_faces(cursor: Cursor, spec: EmbeddingSpec) -> Held | None:
    """What is held of the spec; None where there are no faces at all.

    :raises SpecMismatch: there are only faces of other specs.
    """
    cursor.execute(sql.HOLDINGS, {"prefix": sql.INDEX_PREFIX})
    rows = cursor.fetchall()
    for spec_id, key, _, indexed_rows in rows:
        if key == spec.key:
            return Held(spec_id, indexed_rows)
    if not rows:
        return None
    where = "The profile index"
    spec.require_match(rows[0][2], where, _WHAT_TO_DO)
    raise SpecMismatch(f"{where} was embedded with a spec of another version of this service. {_WHAT_TO_DO}")


def nearest_entities(
    cursor: Cursor, spec_id: int, probes: NDArray[np.float32], top_k: int, ef_search: int
) -> list[list[ProfileHit]]:
    """For each probe the `top_k` nearest entities: one statement, and further ones where entities have many faces.

    :param ef_search: of the HNSW index; EVERY_FACE for a search that measures each.
    """
    cursor.execute(sql.SEARCH_SETTINGS.format(ef_search=ef_search or 1))
    found: list[list[ProfileHit]] = [[] for _ in probes]
    wanted, rows = list(range(len(probes))), top_k * _ROWS_PER_ENTITY
    for _ in range(_PAGES):
        if not wanted:
            break
        faces = _nearest_faces(cursor, spec_id, probes[wanted], rows, ef_search)
        for place, hits in zip(wanted, faces, strict=True):
            found[place] = _each_once(hits)[:top_k]
        # A full page with too few entities: faces of some crowd the others out.
        wanted = [p for p, hits in zip(wanted, faces, strict=True) if len(hits) == rows and len(found[p]) < top_k]
        rows *= _ROWS_PER_ENTITY
    return found


def _nearest_faces(
    cursor: Cursor, spec_id: int, probes: NDArray[np.float32], rows: int, ef_search: int
) -> list[list[ProfileHit]]:
    parameters = {
        "probes": [vector_text(probe) for probe in probes],
        "dimensions": probes.shape[1],
        "spec_id": spec_id,
        "rows": rows,
    }
    cursor.execute(sql.MEASURED if ef_search == EVERY_FACE else sql.BY_INDEX, parameters)
    hits: list[list[ProfileHit]] = [[] for _ in probes]
    for place, entity_id, similarity in cursor.fetchall():
        hits[place - 1].append(ProfileHit(entity_id, round(float(similarity), DISTANCE_DECIMALS)))
    return hits


def _each_once(hits: Iterable[ProfileHit]) -> list[ProfileHit]:
    """By the best of their faces."""
    best: dict[str, ProfileHit] = {}
    for hit in hits:
        best.setdefault(hit.entity_id, hit)
    return list(best.values())
