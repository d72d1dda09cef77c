"""What a threshold costs: false negatives and positives of open-set searches, and the threshold for a wanted rate.

FPIR(T): of the non-mated searches, the share that names somebody, anybody, at threshold T. FNIR(T): of the mated
searches, the share that does not name the right person first at threshold T (R = 1, as `/recognize` answers with one
name). Both after ISO/IEC 19795-1:2021 and NIST IR 8271, section 3.1; intervals are Wilson's, of 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS
from app.errors import BadRequest
from app.services.calibration.open_set import OpenSetSearches
from app.services.transfer.answer_proof import wilson_interval

FARTHEST = 2.0  # no two directions have a larger cosine distance
_STEP = 10.0**-DISTANCE_DECIMALS
# With no error in n trials the rate is below 3 / n with 95 % confidence (Jovanovic and Levy, A look at the rule of
# three, The American Statistician 51, 1997); fewer than 3 / rate trials therefore support no such rate.
RULE_OF_THREE = 3


@dataclass(frozen=True, slots=True)
class Proportion:
    """So many errors in so many searches."""

    errors: int
    searches: int

    @property
    def rate(self) -> float:
        """0 to 1."""
        return self.errors / self.searches

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true rate is, with 95 % confidence, if the searches were independent of each other."""
        return wilson_interval(self.errors, self.searches)


@dataclass(frozen=True, slots=True)
class RatesAt:
    """Both error rates at one threshold, a cosine distance."""

    threshold: float
    fnir: Proportion
    fpir: Proportion


@dataclass(frozen=True, slots=True, eq=False)
class ErrorRates:
    """Both error rates at every threshold.

    :param hits: ascending, at which distance each mated search that can succeed does.
    :param alarms: ascending, at which distance each non-mated search names somebody.
    :param mated: mated searches, those among them that fail at every threshold.
    """

    hits: NDArray[np.float64]
    alarms: NDArray[np.float64]
    mated: int

    @classmethod
    def of(cls, searches: OpenSetSearches) -> Self:
        """The rates of these searches.

        :raises BadRequest: no person has two photos, or there is one person only.
        """
        if not searches.mated:
            raise BadRequest("No person has two photos with a face: nobody can be searched for. Add photos per person.")
        if not np.isfinite(searches.stranger).all():
            raise BadRequest("All photos are of one person: nobody can be mistaken for another. Add further persons.")
        # A stranger at the same distance may come first, so only the nearer mate is sure to be named.
        is_first = searches.mate < searches.stranger
        return cls(np.sort(searches.mate[is_first]), np.sort(searches.stranger), searches.mated)

    def at(self, threshold: float) -> RatesAt:
        """Both rates at a threshold (inclusive)."""
        found = int(np.searchsorted(self.hits, threshold, side="right"))
        alarmed = int(np.searchsorted(self.alarms, threshold, side="right"))
        return RatesAt(threshold, Proportion(self.mated - found, self.mated), Proportion(alarmed, len(self.alarms)))

    def curve(self, points: int) -> list[RatesAt]:
        """The rates at thresholds where one of them changes, at most about `points` of them, ascending.

        Half of them are the first at which a stranger is named: there the curve is read, and every one counts.
        """
        changes = np.unique(np.concatenate((self.hits, self.alarms)))
        places = np.linspace(0, len(changes) - 1, min(points // 2, len(changes))).astype(int)
        thresholds = np.union1d(changes[places], self.alarms[: points // 2])
        return [self.at(threshold) for threshold in thresholds.tolist()]

    def widest(self, alarms: int) -> float:
        """The largest threshold, of 6 places, at which at most so many non-mated searches name somebody."""
        if alarms >= len(self.alarms):
            return FARTHEST
        return round(float(self.alarms[alarms]) - _STEP, DISTANCE_DECIMALS)


@dataclass(frozen=True, slots=True)
class Proposal:
    """The threshold for a wanted false positive identification rate.

    :param interval: thresholds between which the wanted rate is reached, with 95 % confidence; None where so few
        searches cannot tell how low the lower one is.
    :param is_supported: whether there were searches enough to tell the wanted rate from zero (rule of three).
    """

    wanted_fpir: float
    at: RatesAt
    interval: tuple[float | None, float]
    is_supported: bool

    @property
    def needed_searches(self) -> int:
        """How many non-mated searches the wanted rate needs."""
        return searches_for(self.wanted_fpir)


def searches_for(fpir: float) -> int:
    """How many searches without an error say, with 95 % confidence, that the rate is not larger."""
    return int(np.ceil(round(RULE_OF_THREE / fpir, DISTANCE_DECIMALS)))


def propose_threshold(rates: ErrorRates, wanted_fpir: float) -> Proposal:
    """The threshold that loses fewest persons while FPIR stays at or below the wanted rate.

    Between two photos' distances a threshold may lie anywhere without changing what was measured; it is put into the
    middle of such a gap, because the photos of tomorrow may fall into it from either side.

    :param wanted_fpir: above 0 and below 1.
    :raises BadRequest: photos of different persons are so alike that there is no such threshold.
    """
    searches = len(rates.alarms)
    widest = rates.widest(int(searches * wanted_fpir + 1e-9))  # 0.1 * 30 shall be 3
    if widest <= 0:
        raise BadRequest("Photos of different persons are identical: no threshold parts them. Check the labels.")
    within = rates.hits[rates.hits <= widest]
    nearest = float(within[-1]) if len(within) else widest
    threshold = max(_STEP, round((nearest + widest) / 2, DISTANCE_DECIMALS))
    return Proposal(
        wanted_fpir, rates.at(threshold), _interval(rates, wanted_fpir), searches >= searches_for(wanted_fpir)
    )


def _interval(rates: ErrorRates, wanted_fpir: float) -> tuple[float | None, float]:
    """The widest thresholds whose FPIR is surely below the wanted rate, and not surely above it."""
    searches = len(rates.alarms)
    bounds = np.array([wilson_interval(count, searches) for count in range(searches + 1)])
    surely_below = int(np.searchsorted(bounds[:, 1], wanted_fpir, side="right")) - 1
    not_above = int(np.searchsorted(bounds[:, 0], wanted_fpir, side="right")) - 1
    return (rates.widest(surely_below) if surely_below >= 0 else None), rates.widest(max(not_above, 0))
