"""The ways through a domain, each of which finds the faces among which a probe's best persons are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.services import vector_db_sql
from app.services.person_search import (
    StoredFace,
    Target,
    best_distance,
    nearest_by_index,
    nearest_exactly,
    stored_faces,
)
from app.services.search import search_sql as sql
from app.services.search.plan import SearchPlan, Strategy

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor

_LEAST_PERSONS = 10  # whose faces are measured, if so many have a template within reach
_MEASURED_TEMPLATES = 1_000  # the nearest of all, where all are measured
_TEMPLATES_PER_PERSON = 4  # of the search list; a longer one is also meant to look at more persons


def settings_of(plan: SearchPlan) -> str:
    """The `SET LOCAL` statements that a transaction needs for searches by this plan."""
    settings = sql.SETTINGS if plan.strategy is Strategy.TEMPLATES else vector_db_sql.SEARCH_SETTINGS
    return settings.format(ef_search=plan.ef_search)


def nearest(cursor: Cursor, target: Target, plan: SearchPlan) -> list[StoredFace]:
    """The best images of the nearest persons within the target's distance, and of all that tie with them.

    :param cursor: of a transaction with the plan's settings.
    """
    if plan.strategy is Strategy.WHOLE:
        return nearest_exactly(cursor, target)
    if plan.strategy is Strategy.IMAGES:
        return nearest_by_index(cursor, target, plan.ef_search)
    found = _nearest_by_templates(cursor, target, plan, plan.is_indexed)
    if plan.retry_margin is None or not is_doubtful(found, target, plan.retry_margin):
        return found
    return _nearest_by_templates(cursor, target, plan, by_index=False)


def is_doubtful(found: Sequence[StoredFace], target: Target, margin: float) -> bool:
    """Whether nobody was found, or only somebody near the threshold: here a miss of an index would hurt."""
    return best_distance(found, target) > target.max_distance - margin


def wider(plan: SearchPlan, ef_search: int) -> SearchPlan:
    """The plan for a second look: a longer search list, and persons whose templates are farther off."""
    reach = (1.0 + max(plan.max_template_distance, plan.max_distance)) / 2
    return replace(plan, ef_search=max(plan.ef_search, ef_search), max_template_distance=reach)


def explanation(target: Target, plan: SearchPlan) -> tuple[str, dict[str, Any]]:
    """A statement, and its parameters, that shows how Postgres goes the plan's way through an index."""
    if plan.strategy is Strategy.TEMPLATES:
        statement, parameters = _template_search(target, plan, plan.is_indexed)
    else:
        statement, parameters = vector_db_sql.OPEN_WALK, target.parameters()
    return f"EXPLAIN {statement}", parameters


def _nearest_by_templates(cursor: Cursor, target: Target, plan: SearchPlan, by_index: bool) -> list[StoredFace]:
    cursor.execute(*_template_search(target, plan, by_index))
    return stored_faces(cursor)


def _template_search(target: Target, plan: SearchPlan, by_index: bool) -> tuple[str, dict[str, Any]]:
    distance = sql.BY_INDEX.format(dimensions=len(target.probe)) if by_index else sql.BY_MEASURING
    return sql.NEAREST.format(distance=distance), target.parameters() | {
        "plan_id": plan.plan_id,
        "templates": plan.ef_search if by_index else _MEASURED_TEMPLATES,
        "covered_up_to": plan.covered_up_to,
        "max_template_distance": plan.max_template_distance,
        "max_persons": max(_LEAST_PERSONS, plan.ef_search // _TEMPLATES_PER_PERSON),
    }
