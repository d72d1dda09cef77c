"""How a match is decided, in one place, so that equal galleries give equal answers.

Both galleries find candidates their own way and hand them here: the distance is recomputed in float64, rounded,
held against the threshold, and the best image of each person is ranked. The formula and the rounding are those of
`DeepFace.find` (deepface.modules.verification.find_cosine_distance, find_distance).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS, TOP_PERSONS, FaceMatches, FloatArray, Match

# Half a unit of the last kept decimal: an unrounded distance up to this far beyond the threshold still rounds onto it.
ROUNDING_MARGIN = 0.5 * 10.0**-DISTANCE_DECIMALS

ConfidenceOf = Callable[[float, bool], float]


@dataclass(frozen=True, slots=True)
class MatchPolicy:
    """What counts as a match.

    :param threshold: largest cosine distance that is still the same person (inclusive, as in DeepFace).
    :param confidence_of: (distance, verified) -> DeepFace's confidence, 0 to 100.
    """

    threshold: float
    confidence_of: ConfidenceOf


@dataclass(frozen=True, slots=True)
class Candidate:
    """A gallery row with its exact distance to a probe."""

    person: str
    image: str
    distance: float


def exact_distances(embeddings: FloatArray, probe: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine distances 1 - a·b / (‖a‖‖b‖) in float64, rounded to 6 places.

    :param embeddings: (N, D); :param probe: (D,); :return: (N,). No row may be zero.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(probe)
    distances: NDArray[np.float64] = np.round(1.0 - (rows @ probe) / norms, DISTANCE_DECIMALS)
    return distances


def direction_of(probe: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The probe at length 1; None where it has no direction.

    :param probe: (D,).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(probe)
    return probe / length if np.isfinite(length) and length > 0 else None


def rank_persons(candidates: Iterable[Candidate], policy: MatchPolicy, limit: int = TOP_PERSONS) -> FaceMatches:
    """The best `limit` distinct persons within the threshold, each by their best image.

    Best first; equal distances are ordered by person, equal images of one person by path, so that the answer does
    not depend on the order in which an index returns its rows.
    """
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        held = best.get(candidate.person)
        if candidate.distance <= policy.threshold and (held is None or _order(candidate) < _order(held)):
            best[candidate.person] = candidate
    ranked = sorted(best.values(), key=_order)[:limit]
    return tuple(Match(c.person, c.image, c.distance, policy.confidence_of(c.distance, True)) for c in ranked)


def _order(candidate: Candidate) -> tuple[float, str, str]:
    return candidate.distance, candidate.person, candidate.image
