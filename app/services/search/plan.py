"""A search plan: the way a domain is searched, and what was measured when it was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_ROUNDING = 1e-6  # a search reaches this far beyond the threshold, for what is rounded onto it
INDEXED_FROM = 1_000  # templates; fewer are measured in less time than an index takes


class Strategy(StrEnum):
    """The ways through a domain."""

    WHOLE = "whole"  # every face is measured
    IMAGES = "images"  # an HNSW index over all faces, then the images of the persons it shows
    TEMPLATES = "templates"  # the persons' templates, then the images of the nearest persons


@dataclass(frozen=True, slots=True)
class Share:
    """A share that was measured on a sample, with its 95 % confidence interval; each 0 to 1."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Measured:
    """How well a way did, held against measuring every face.

    :param probes: of so many, at least one person was within the threshold.
    :param top1: of them, those whose best person was found; :param top5: the found ones of all their best five.
    :param search_mean_ms: what ways are compared by, so that the dear second look of some probes counts.
    :param met: whether the targets were reached.
    """

    probes: int
    top1: Share
    top5: Share
    search_p50_ms: float
    search_mean_ms: float
    met: bool


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How a domain is searched. Numbers that do not belong to the strategy have no meaning.

    :param plan_id: of its row; 0 where it was not stored.
    :param ef_search: length of HNSW's search list.
    :param max_distance: the threshold that it was chosen for; for a larger one it does not hold.
    :param max_template_distance: a person is looked at where a template is no farther from the probe.
    :param covered_up_to: faces with a greater revision came later.
    :param templates: their number in all; 0 where the strategy has none.
    :param retry_margin: where nobody is nearer than the threshold less this cosine distance, all templates are
        measured; None for never.
    """

    plan_id: int
    strategy: Strategy
    ef_search: int
    max_distance: float
    max_template_distance: float = 0.0
    covered_up_to: int = 0
    faces: int = 0
    persons: int = 0
    templates: int = 0
    retry_margin: float | None = None
    measured: Measured | None = None

    @property
    def is_indexed(self) -> bool:
        """Whether the templates have an HNSW index."""
        return self.templates > INDEXED_FROM

    def holds_for(self, max_distance: float) -> bool:
        """Whether it may be used for a search with this threshold."""
        return max_distance <= self.max_distance + _ROUNDING


def template_index_name(plan_id: int) -> str:
    """The name of the HNSW index over a plan's templates."""
    return f"person_templates_hnsw_{plan_id}"


def crowds(faces: int, persons: int, ef_search: int) -> bool:
    """Whether persons have so many images that the index over images falls apart (see `person_search`)."""
    return faces > persons * ef_search // 2
