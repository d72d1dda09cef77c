"""A calibration as the operator gets it: what was measured, what is proposed, and which photos look mislabelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.domain import DISTANCE_DECIMALS, EmbeddingSpec
from app.services.calibration.error_rates import ErrorRates, Proportion, Proposal, RatesAt, propose_threshold
from app.services.calibration.labelled_photos import LabelledFaces
from app.services.calibration.open_set import NOBODY, search_each

CLOSEST_PAIRS = 10
_CURVE_POINTS = 400


@dataclass(frozen=True, slots=True)
class ClosePair:
    """Two photos under different names that lie close: the same person twice, or two that look alike."""

    distance: float
    image: str
    other_image: str


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What labelled photos say about a spec's threshold.

    :param closest: the closest photos of different persons, the closest first: where wrong labels show.
    """

    spec: EmbeddingSpec
    faces: LabelledFaces
    rates: ErrorRates
    proposal: Proposal
    closest: tuple[ClosePair, ...]

    @property
    def curve(self) -> list[RatesAt]:
        """Both error rates over the thresholds, for a plot."""
        return self.rates.curve(_CURVE_POINTS)

    @property
    def settings(self) -> dict[str, str]:
        """What to put into the environment."""
        distance = self.proposal.at.threshold
        return {
            "FACE_DISTANCE_THRESHOLD": f"{distance:.6g}",
            "VECTOR_DB_SIMILARITY_THRESHOLD": f"{similarity_of(distance):.6g}",
        }

    def to_document(self) -> dict[str, Any]:
        """A JSON-serialisable dict; the photos' paths below their folder stand in `closest_pairs`."""
        low, high = self.proposal.interval
        return {
            "spec": self.spec.to_document(),
            "persons": self.faces.person_count,
            "photos": len(self.faces.images),
            "left_out": self.faces.left_out,
            "wanted_fpir": self.proposal.wanted_fpir,
            "is_supported": self.proposal.is_supported,
            "searches_needed": self.proposal.needed_searches,
            "proposed": rates_document(self.proposal.at),
            "threshold_95": [low, high],
            "settings": self.settings,
            "curve": [rates_document(at) for at in self.curve],
            "closest_pairs": [[pair.distance, pair.image, pair.other_image] for pair in self.closest],
        }


def calibrate(spec: EmbeddingSpec, faces: LabelledFaces, wanted_fpir: float) -> Calibration:
    """Search each photo among the others, and propose the threshold for the wanted FPIR.

    :raises BadRequest: the photos cannot tell (see `ErrorRates.of`, `propose_threshold`).
    """
    searches = search_each(faces.embeddings, faces.persons)
    rates = ErrorRates.of(searches)
    pairs: dict[frozenset[int], ClosePair] = {}
    for row in np.argsort(searches.stranger, kind="stable")[: 2 * CLOSEST_PAIRS].tolist():
        other = int(searches.nearest_stranger[row])
        if other != NOBODY:  # each pair shows from both sides, and is named once
            pair = ClosePair(float(searches.stranger[row]), faces.images[row], faces.images[other])
            pairs.setdefault(frozenset((row, other)), pair)
    closest = tuple(pairs.values())[:CLOSEST_PAIRS]
    return Calibration(spec, faces, rates, propose_threshold(rates, wanted_fpir), closest)


def similarity_of(distance: float) -> float:
    """The cosine similarity of a cosine distance."""
    return round(1.0 - distance, DISTANCE_DECIMALS)


def rates_document(at: RatesAt) -> dict[str, Any]:
    """One threshold's rates, JSON-serialisable."""
    return {"threshold": at.threshold, "fnir": _proportion(at.fnir), "fpir": _proportion(at.fpir)}


def _proportion(proportion: Proportion) -> dict[str, Any]:
    interval = [round(bound, 6) for bound in proportion.interval]
    rate = round(proportion.rate, 6)
    return {"errors": proportion.errors, "searches": proportion.searches, "rate": rate, "interval_95": interval}
