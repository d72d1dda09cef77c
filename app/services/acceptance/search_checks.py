"""The part of the acceptance test that searches: per domain, whether it finds what measuring every face finds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import EmbeddingSpec
from app.errors import AppError
from app.services import vector_db_sql
from app.services.acceptance import checks_sql as sql
from app.services.acceptance.database_checks import Check, check
from app.services.gallery_holdings import index_name
from app.services.person_search import Target
from app.services.search.plan import SearchPlan, Strategy, template_index_name
from app.services.search.ways import explanation, settings_of
from app.services.stored_values import vector_of
from app.services.transfer.answer_proof import compare_galleries

if TYPE_CHECKING:
    from app.adapters.postgres import Database
    from app.services.gallery import Gallery
    from app.services.vector_db_service import GalleryCount, VectorDbService

_TIMEOUT_S = 60.0
_FILL = "Import a PKL (docs/importing.md) or embed the images (scripts.generate_embeddings_to_db)."
_BUILD = "Run scripts.migrate_pkl_to_postgres_standalone again, or `python -m scripts.tune_search`."


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """When a search is good enough.

    :param probes: so many random faces of the domain are searched.
    :param p95_ms: 95 % of the searches must take no longer.
    :param recall: least share of the persons to be found, 0 to 1.
    """

    probes: int = 100
    p95_ms: float = 500.0
    recall: float = 0.99


@dataclass(frozen=True, slots=True)
class Searched:
    """The galleries that are held against each other.

    :param vector_db: as the service has it; :param exact: every face is measured; :param served: as the service
        searches a domain that was not tuned; both with no limit of distance (`answer_proof.EVERYBODY`).
    :param exact_within: every face is measured; :param served_within: as the service searches a domain that was tuned,
        which it was for the threshold that is set; both with this threshold.
    :param max_distance: the threshold.
    """

    vector_db: VectorDbService
    exact: Gallery
    served: Gallery
    exact_within: Gallery
    served_within: Gallery
    max_distance: float


class SearchChecks:
    """What can be asked of each domain."""

    def __init__(self, database: Database, spec: EmbeddingSpec, searched: Searched, limits: SearchLimits) -> None:
        self._database = database
        self._spec = spec
        self._searched = searched
        self._limits = limits

    def run(self, domains: Sequence[str] | None = None) -> Iterator[Check]:
        """The checks of these domains, or of all that the database holds.

        :raises StoreUnavailable: the database cannot be asked which there are.
        """
        chosen = domains or sorted(self._searched.vector_db.domains())
        if not chosen:
            yield Check("counts", False, "the database holds no faces of the spec in use", _FILL)
        for domain in chosen:
            yield from self._of_domain(domain)

    def _of_domain(self, domain: str) -> Iterator[Check]:
        counts = self._searched.vector_db.counts().get(domain)
        yield self._counts(domain, counts)
        if counts is None:
            return
        try:
            probes = self._probes(domain)
            yield self._index(domain)
            yield self._plan(domain, probes[0])
            yield self._recall(domain, probes)
            yield self._times(domain, probes)
        except AppError as error:
            yield Check("search", False, error.message, "See the lines above.", domain)

    def _counts(self, domain: str, counts: GalleryCount | None) -> Check:
        if counts is None:
            return Check("counts", False, "no faces of the spec in use", _FILL, domain)
        return Check("counts", True, f"{counts.persons} persons, {counts.embeddings} faces", domain=domain)

    def _index(self, domain: str) -> Check:
        """The index that the domain's way of searching asks for is there and valid."""
        plan = self._way(domain)
        name = self._index_name(domain, plan)
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.VECTOR_INDEX_ROWS, {"name": name})
            found = cursor.fetchone()
        if found:
            what = "templates" if plan.strategy is Strategy.TEMPLATES else "faces"
            return Check("index", True, f"HNSW, {found[0]} {what}", domain=domain)
        if plan.plan_id and not _needs_index(plan):
            return Check("index", True, f"none needed: tuned to search {_described(plan)}", domain=domain)
        return Check("index", False, "no valid HNSW index", _BUILD, domain)

    def _plan(self, domain: str, probe: NDArray[np.float64]) -> Check:
        """Whether Postgres would take the index for the very statement of the service."""
        plan = self._way(domain)
        if not _needs_index(plan):
            return Check("plan", True, f"by choice without an index: {_described(plan)}", domain=domain)
        is_used = self._index_name(domain, plan) in self._explained(domain, plan, probe)
        figure = f"the index is used: {_described(plan)}" if is_used else "the table is scanned"
        return check("plan", is_used, figure, "Run ANALYZE, then REINDEX the domain's index.", domain)

    def _way(self, domain: str) -> SearchPlan:
        return self._searched.vector_db.plan_of(domain, self._searched.max_distance)

    def _index_name(self, domain: str, plan: SearchPlan) -> str:
        if plan.strategy is Strategy.TEMPLATES:
            return template_index_name(plan.plan_id)
        return index_name(domain, self._spec.key)

    def _explained(self, domain: str, plan: SearchPlan, probe: NDArray[np.float64]) -> str:
        with self._database.transaction(_TIMEOUT_S, read_only=True, settings=settings_of(plan)) as cursor:
            cursor.execute(vector_db_sql.SPEC_ID, {"key": self._spec.key})
            ((spec_id,),) = cursor.fetchall()
            target = Target(domain, spec_id, probe / np.linalg.norm(probe), self._searched.max_distance)
            cursor.execute(*explanation(target, plan))
            return "\n".join(line for (line,) in cursor.fetchall())

    def _recall(self, domain: str, probes: NDArray[np.float64]) -> Check:
        galleries = self._searched.exact, self._searched.served
        if self._way(domain).plan_id:
            galleries = self._searched.exact_within, self._searched.served_within
        found = compare_galleries(*galleries, domain, probes)
        low, high = found.recall_interval
        figure = f"recall {found.recall:.4f} (95 %: {low:.4f} to {high:.4f}) of {found.expected} persons"
        advice = "Run `python -m scripts.tune_search`, or raise VECTOR_DB_EF_SEARCH."
        return check("recall", found.recall >= self._limits.recall, figure, advice, domain)

    def _times(self, domain: str, probes: NDArray[np.float64]) -> Check:
        self._search(domain, probes[0])  # the first one also connects
        times = [self._search(domain, probe) for probe in probes]
        p50, p95 = np.percentile(times, [50, 95]).tolist()
        advice = "Give the server memory for the index (shared_buffers), or lower VECTOR_DB_EF_SEARCH."
        figure = f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, limit {self._limits.p95_ms:.0f} ms"
        return check("time", p95 <= self._limits.p95_ms, figure, advice, domain)

    def _search(self, domain: str, probe: NDArray[np.float64]) -> float:
        """Milliseconds of one search."""
        started = time.perf_counter()
        self._searched.vector_db.candidates(domain, probe[np.newaxis], self._searched.max_distance, _TIMEOUT_S)
        return (time.perf_counter() - started) * 1000

    def _probes(self, domain: str) -> NDArray[np.float64]:
        scope = {"domain": domain, "key": self._spec.key, "probes": self._limits.probes}
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.RANDOM_PROBES, scope)
            return np.array([vector_of(sent) for (sent,) in cursor.fetchall()], dtype=np.float64)


def _needs_index(plan: SearchPlan) -> bool:
    return plan.strategy is Strategy.IMAGES or (plan.strategy is Strategy.TEMPLATES and plan.is_indexed)


def _described(plan: SearchPlan) -> str:
    if plan.strategy is Strategy.WHOLE:
        return "every face is measured"
    if plan.strategy is Strategy.IMAGES:
        return f"images, ef_search {plan.ef_search}"
    return f"{plan.templates} templates{f', ef_search {plan.ef_search}' if plan.is_indexed else ''}"
