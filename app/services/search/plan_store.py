"""Where search plans and their templates lie: a new plan is made beside the one in use, and takes its place at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.errors import AppError, Conflict
from app.services.search import tuning_sql as sql
from app.services.search.gallery_reader import MarkedDomain
from app.services.search.plan import Measured, SearchPlan, Share, Strategy, template_index_name
from app.services.stored_values import vector_text

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

_TIMEOUT_S = 600.0
_BUILD_TIMEOUT_S = 4 * 3600.0
# After so long every service has heard of the new plan (vector_db_service asks anew each 5 s).
_HANDOVER_S = 6.0
_BATCH = 500  # templates per statement


class PlanStore:
    """The plans of one database.

    :param sleep: waits until the old plan is used no more.
    """

    def __init__(self, database: Database, sleep: Callable[[float], None] = time.sleep) -> None:
        self._database = database
        self._sleep = sleep

    @contextmanager
    def alone(self, domain: str, spec_id: int) -> Iterator[None]:
        """Keep other makers of a plan for this domain out.

        :raises Conflict: there is one.
        """
        with self._database.without_transaction(_BUILD_TIMEOUT_S) as cursor:
            cursor.execute(sql.LOCK, {"domain": domain, "spec_id": spec_id})
            ((taken,),) = cursor.fetchall()
            if not taken:
                raise Conflict("Another process is tuning this domain; wait until it is done.", code="tuning_runs")
            try:
                yield
            finally:  # the end of the connection would do it too, but some time after this
                cursor.execute(sql.UNLOCK, {"domain": domain, "spec_id": spec_id})

    def add(self, marked: MarkedDomain, counts: Mapping[int, int], max_distance: float) -> int:
        """A new plan's id; nobody uses the plan until it is put in place."""
        figures = {"faces": sum(counts.values()), "persons": len(counts), "max_distance": max_distance}
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(sql.ADD_PLAN, marked.parameters() | figures)
            ((plan_id,),) = cursor.fetchall()
        return int(plan_id)

    def add_templates(self, plan_id: int, persons: Sequence[int], templates: NDArray[np.float32]) -> int:
        """Store templates, each of the person at its place; how many, without those of persons who are gone.

        :param templates: (T, D).
        """
        added = 0
        with self._database.transaction(_TIMEOUT_S) as cursor:
            for start in range(0, len(persons), _BATCH):
                some = slice(start, start + _BATCH)
                rows = {"persons": list(persons[some]), "embeddings": [vector_text(t) for t in templates[some]]}
                cursor.execute(sql.ADD_TEMPLATES, rows | {"plan_id": plan_id})
                added += cursor.rowcount
        return added

    def index(self, plan_id: int, dimensions: int, m: int, ef_construction: int) -> None:
        """Build the HNSW index over a plan's templates, while faces and persons are written and deleted as ever."""
        shape = {"plan_id": plan_id, "dimensions": dimensions, "m": m, "ef_construction": ef_construction}
        with self._database.without_transaction(_BUILD_TIMEOUT_S) as cursor:
            cursor.execute(sql.CREATE_INDEX.format(name=template_index_name(plan_id)), shape)

    def analyze(self) -> None:
        """Refresh the planner's figures."""
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(sql.ANALYZE)

    def put_in_place(self, marked: MarkedDomain, plan: SearchPlan, measured: Measured) -> SearchPlan:
        """Make the plan the domain's, at once; then remove the one before, when nobody uses it any more.

        :return: the plan as it is searched by.
        """
        kept = plan if plan.strategy is Strategy.TEMPLATES else replace(plan, templates=0)
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(sql.DEACTIVATE, marked.parameters())
            cursor.execute(sql.ACTIVATE, _columns(kept, measured))
        if not kept.templates:
            self._remove(plan.plan_id, sql.DELETE_TEMPLATES)
        if self._others(marked):
            self._sleep(_HANDOVER_S)
        with suppress(AppError):  # the new plan is in use; the next tuning tidies up
            self.remove_others(marked)
        return replace(kept, measured=measured)

    def remove_others(self, marked: MarkedDomain) -> None:
        """Remove all plans of the domain but the one in use."""
        for plan_id in self._others(marked):
            self._remove(plan_id, sql.DELETE_PLAN)

    def _others(self, marked: MarkedDomain) -> list[int]:
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.OTHER_PLANS, marked.parameters())
            return [plan_id for (plan_id,) in cursor.fetchall()]

    def _remove(self, plan_id: int, statement: str) -> None:
        """The index first, and so that it waits for others without keeping searches out."""
        with self._database.without_transaction(_BUILD_TIMEOUT_S) as cursor:
            _drop_index(cursor, plan_id)
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(statement, {"plan_id": plan_id})


def _drop_index(cursor: Cursor, plan_id: int) -> None:
    cursor.execute(sql.DROP_INDEX.format(name=template_index_name(plan_id)))


def _columns(plan: SearchPlan, measured: Measured) -> dict[str, Any]:
    return {
        "plan_id": plan.plan_id,
        "strategy": str(plan.strategy),
        "ef_search": plan.ef_search,
        "max_template_distance": plan.max_template_distance,
        "templates": plan.templates,
        "retry_margin": plan.retry_margin,
        "probes": measured.probes,
        "search_p50_ms": measured.search_p50_ms,
        "met": measured.met,
        **_share("top1", measured.top1),
        **_share("top5", measured.top5),
    }


def _share(name: str, share: Share) -> dict[str, float]:
    return {name: share.share, f"{name}_low": share.low, f"{name}_high": share.high}
