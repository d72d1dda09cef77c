"""The pgvector galleries: which domains there are, adding faces, and finding those that may match a probe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.typing import NDArray

from app.domain import EmbeddingSpec, GalleryFace, check_domain_name
from app.services import vector_db_sql as sql
from app.services.gallery_holdings import Holding, Holdings, index_name
from app.services.matching import direction_of
from app.services.person_search import StoredFace, Target
from app.services.search.plan import SearchPlan, Strategy, crowds
from app.services.search.plan_health import PlanHealth, read_plans, untuned
from app.services.search.ways import is_doubtful, nearest, settings_of, wider
from app.services.stored_values import is_storable_text, register_spec

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

_FRESH_S = 5.0  # a domain that a script adds is found so soon
_QUICK_S = 5.0  # limit of the small questions that no request's own limit covers
_BATCH = 500  # faces per statement, 5 MB of text at 512 dimensions
# With ef_construction 64, the default, a walk lost a person within the threshold for 3 % of the probes (29 persons x
# 1,000 images x 128); with 200 for none. The build takes up to twice as long.
_HNSW = {"m": 16, "ef_construction": 200}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How a domain is searched: the first two where it was not tuned, or for another threshold; the others always.

    :param ef_search: the length of HNSW's search list, 10 to 1,000: more finds more and takes longer.
    :param exact_max_rows: up to so many faces, a domain is searched by measuring each.
    :param tuned: search by the domains' plans.
    :param retry_ef_search: a probe that finds nobody, or only somebody near the threshold, is searched once more with
        this list; 0 for never.
    :param retry_margin: cosine distance from the threshold that counts as near it.
    """

    ef_search: int = 200
    exact_max_rows: int = 10_000
    retry_ef_search: int = 0
    retry_margin: float = 0.02
    tuned: bool = True


EVERY_FACE = SearchOptions(exact_max_rows=sys.maxsize, tuned=False)  # measures them all, whatever was tuned


@dataclass(frozen=True, slots=True)
class GalleryCount:
    """What a domain holds of the spec in use."""

    persons: int
    embeddings: int


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of the faces handed to `add_faces`.

    :param left_out: not storable (no length, text that is not UTF-8), or followed by another of the same image and box.
    """

    inserted: int
    updated: int
    unchanged: int
    left_out: int


class VectorDbService:
    """All SQL of the galleries, for one embedding spec; several specs may live in one database.

    :param database: where transactions come from.
    :param spec: the spec of every vector that is stored or searched here.
    """

    def __init__(self, database: Database, spec: EmbeddingSpec, options: SearchOptions | None = None) -> None:
        self._database = database
        self._spec = spec
        self._options = options or SearchOptions()
        self._held: tuple[float, Holdings] | None = None  # when it was read, and what

    def domains(self) -> frozenset[str]:
        """The domains that have faces of the spec; at most a few seconds old.

        :raises StoreUnavailable: the database cannot be asked.
        """
        return frozenset(self._holdings(_QUICK_S).searchable)

    def require_spec(self) -> None:
        """Check that no domain consists of another spec's faces.

        :raises SpecMismatch: one does; what differs, and what to do.
        :raises StoreUnavailable: the database cannot be asked.
        """
        holdings = self._holdings(_QUICK_S)
        for domain in sorted(holdings.foreign):
            holdings.refuse_foreign(domain, self._spec)

    def counts(self) -> dict[str, GalleryCount]:
        """Persons and faces of the spec, by domain.

        :raises StoreUnavailable: the database cannot be asked.
        """
        with self._database.transaction(_QUICK_S, read_only=True) as cursor:
            cursor.execute(sql.COUNTS, {"key": self._spec.key})
            return {domain: GalleryCount(persons, embeddings) for domain, persons, embeddings in cursor.fetchall()}

    def plan_health(self, counts: Mapping[str, GalleryCount]) -> dict[str, PlanHealth]:
        """How each of these domains is searched, how well, and whether it should be tuned anew.

        :raises StoreUnavailable: the database cannot be asked.
        """
        with self._database.transaction(_QUICK_S, read_only=True) as cursor:
            plans = read_plans(cursor, self._spec.key)
        return {domain: plans.get(domain) or untuned(count.embeddings) for domain, count in counts.items()}

    def add_faces(self, domain: str, faces: Iterable[GalleryFace], timeout_s: float = 600.0) -> AddReport:
        """Add faces, or replace those of the same image and box, in one transaction; doing it twice changes nothing.

        All faces are held in memory; of many, hand over some thousands at a time.

        :raises BadRequest: the domain's name cannot be one.
        :raises SpecMismatch: an embedding has other dimensions than the spec.
        :raises StoreUnavailable: the database cannot be reached; nothing was added.
        """
        check_domain_name(domain)
        given = list(faces)
        for face in given:
            self._spec.require_length(np.shape(face.embedding)[-1])
        rows = list({(face.image, face.box): face for face in given if _is_storable(face)}.values())
        with self._database.transaction(timeout_s) as cursor:
            spec_id = register_spec(cursor, self._spec)
            cursor.execute(sql.ADD_PERSONS, {"domain": domain, "names": sorted({face.person for face in rows})})
            written = [
                is_new
                for start in range(0, len(rows), _BATCH)
                for is_new in _upsert(cursor, domain, spec_id, rows[start : start + _BATCH])
            ]
        self._held = None
        return _report(given, rows, written)

    def ensure_index(self, domain: str, timeout_s: float = 3600.0) -> None:
        """Build the domain's HNSW index unless it exists, and refresh the planner's statistics.

        For scripts, after many faces were added: 30,000 x 512 takes about half a minute, and writers wait meanwhile.

        :raises BadRequest: the domain's name cannot be one.
        :raises StoreUnavailable: the database cannot be reached, or ran out of memory for the build.
        """
        name = index_name(check_domain_name(domain), self._spec.key)
        with self._database.transaction(timeout_s) as cursor:
            scope = {
                "domain": domain,
                "spec_id": register_spec(cursor, self._spec),
                "dimensions": self._spec.dimensions,
            }
            cursor.execute(sql.CREATE_INDEX.format(name=name), scope | _HNSW)
            cursor.execute(sql.ANALYZE)
        self._held = None

    def candidates(
        self, domain: str, probes: NDArray[np.float64], max_distance: float, timeout_s: float
    ) -> list[list[StoredFace]]:
        """For each probe the faces among which its best persons are, each person by their best images.

        :param probes: (F, D) float64. A probe that is zero or not finite has no candidates.
        :param max_distance: cosine distance beyond which nobody is of interest.
        :raises UnknownDomain: the domain has no faces.
        :raises SpecMismatch: it, or the probes, are of another spec.
        :raises StoreUnavailable: the database is down; StoreTimeout: it is too slow.
        """
        self._spec.require_length(probes.shape[1])
        holding = self._holdings(timeout_s).of(domain, self._spec)
        plan = self._plan(holding, max_distance)
        with self._database.transaction(timeout_s, read_only=True, settings=settings_of(plan)) as cursor:
            return [
                self._nearest(cursor, plan, Target(domain, holding.spec_id, direction, max_distance))
                if direction is not None
                else []
                for direction in map(direction_of, probes)
            ]

    def plan_of(self, domain: str, max_distance: float) -> SearchPlan:
        """The way that a search of the domain with this threshold goes now; `plan_id` is 0 where it was not tuned.

        :raises UnknownDomain, SpecMismatch, StoreUnavailable: as `candidates`.
        """
        return self._plan(self._holdings(_QUICK_S).of(domain, self._spec), max_distance)

    def _plan(self, holding: Holding, max_distance: float) -> SearchPlan:
        plan = holding.plan
        if plan is None or not self._options.tuned or not plan.holds_for(max_distance):
            return self._untuned(holding, max_distance)
        if plan.strategy is Strategy.IMAGES and holding.indexed_rows is None:
            return replace(plan, strategy=Strategy.WHOLE)  # the index was dropped since
        return plan

    def _untuned(self, holding: Holding, max_distance: float) -> SearchPlan:
        """By the index, where it pays and persons do not crowd it (see `person_search`)."""
        rows, options = holding.indexed_rows, self._options
        whole = rows is None or rows <= options.exact_max_rows or crowds(rows, holding.persons, options.ef_search)
        return SearchPlan(0, Strategy.WHOLE if whole else Strategy.IMAGES, options.ef_search, max_distance)

    def _nearest(self, cursor: Cursor, plan: SearchPlan, target: Target) -> list[StoredFace]:
        found = nearest(cursor, target, plan)
        options = self._options
        if not options.retry_ef_search or plan.strategy is Strategy.WHOLE:
            return found
        if not is_doubtful(found, target, options.retry_margin):
            return found
        again = wider(plan, options.retry_ef_search)
        cursor.execute(settings_of(again))
        return nearest(cursor, target, again)

    def _holdings(self, timeout_s: float) -> Holdings:
        held = self._held
        if held is not None and time.monotonic() - held[0] < _FRESH_S:
            return held[1]
        asked_at = time.monotonic()
        with self._database.transaction(timeout_s, read_only=True) as cursor:
            holdings = Holdings.read(cursor, self._spec)
        self._held = asked_at, holdings
        return holdings


def _upsert(cursor: Cursor, domain: str, spec_id: int, faces: Sequence[GalleryFace]) -> list[bool]:
    """Write the faces; for each that had to be written, whether it is new."""
    columns: dict[str, Any] = {
        "persons": [face.person for face in faces],
        "images": [face.image for face in faces],
        "hashes": [face.image_sha256 for face in faces],
        "embeddings": [np.asarray(face.embedding, dtype=np.float32) for face in faces],
    }
    boxes = {side: [int(getattr(face.box, side)) for face in faces] for side in "xywh"}
    cursor.execute(sql.UPSERT_FACES, columns | boxes | {"domain": domain, "spec_id": spec_id})
    return [is_new for (is_new,) in cursor.fetchall()]


def _report(given: Sequence[GalleryFace], rows: Sequence[GalleryFace], written: Sequence[bool]) -> AddReport:
    report = AddReport(
        inserted=sum(written),
        updated=len(written) - sum(written),
        unchanged=len(rows) - len(written),
        left_out=len(given) - len(rows),
    )
    if report.left_out:
        log.warning("pgvector.faces_left_out", count=report.left_out)
    return report


def _is_storable(face: GalleryFace) -> bool:
    """Whether Postgres can hold the texts, and float32 the length of the vector: without one there is no angle."""
    with np.errstate(over="ignore"):
        squared_length = float(np.sum(np.square(face.embedding, dtype=np.float32), dtype=np.float32))
    return bool(np.isfinite(squared_length)) and squared_length > 0 and is_storable_text(face.person + face.image)
