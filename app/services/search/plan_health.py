"""What the health report tells of a domain's search plan: how good it was, how old it is, and what came since."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor

_SMALL = 1_000  # faces; measuring so many takes no longer than a plan would save
_MANY = 10_000  # measured beside the templates they cost as much as a search at 1,000,000 faces
_SHARE = 0.05

# The faces that came since stand at the end of a range of the index face_embeddings_scope_id.
_PLANS = """
SELECT p.domain, p.strategy, p.ef_search, p.recall_top1, p.recall_top1_low, p.recall_top1_high, p.recall_top5,
    p.recall_top5_low, p.recall_top5_high, p.met, p.search_p50_ms, p.probes, p.faces, p.measured_at, (
        SELECT count(*) FROM face_embeddings AS f
        WHERE f.spec_id = p.spec_id AND f.person_domain = p.domain AND f.revision > p.covered_up_to
    )
FROM search_plans AS p JOIN embedding_specs AS s ON s.id = p.spec_id
WHERE p.active AND s.key = %(key)s
"""


@dataclass(frozen=True, slots=True)
class PlanHealth:
    """A domain's search plan; `strategy` is `untuned` where it has none, and the rest is of no meaning.

    :param recall_top1: share, and the 95 % interval's ends, each 0 to 1; so is `recall_top5`.
    :param fresh_faces: that came since it was made, and are measured one by one.
    """

    strategy: str = "untuned"
    ef_search: int = 0
    recall_top1: tuple[float, ...] = ()
    recall_top5: tuple[float, ...] = ()
    reached_targets: bool = False
    search_p50_ms: float = 0.0
    probes: int = 0
    measured_at: str = ""
    age_days: float = 0.0
    fresh_faces: int = 0
    tuning_advised: bool = False

    def to_document(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        if self.measured_at:
            return asdict(self)
        return {"strategy": self.strategy, "tuning_advised": self.tuning_advised}


def untuned(faces: int) -> PlanHealth:
    """Of a domain that has no plan."""
    return PlanHealth(tuning_advised=faces > _SMALL)


def read_plans(cursor: Cursor, spec_key: str) -> dict[str, PlanHealth]:
    """The plans in use, by domain; the cost grows with the faces that came since they were made."""
    cursor.execute(_PLANS, {"key": spec_key})
    return {domain: _health(row) for domain, *row in cursor.fetchall()}


def _health(row: list[Any]) -> PlanHealth:
    strategy, ef_search, *shares, met, p50_ms, probes, faces, measured_at, fresh = row
    return PlanHealth(
        strategy=strategy,
        ef_search=ef_search,
        recall_top1=tuple(shares[:3]),
        recall_top5=tuple(shares[3:]),
        reached_targets=met,
        search_p50_ms=round(p50_ms, 2),
        probes=probes,
        measured_at=measured_at.isoformat(timespec="seconds"),
        age_days=round((datetime.now(UTC) - measured_at).total_seconds() / 86_400, 1),
        fresh_faces=fresh,
        tuning_advised=fresh > min(_MANY, max(_SMALL, _SHARE * faces)),
    )
