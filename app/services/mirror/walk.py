"""Finds in an index the persons who may be a probe's best, page by page, each page of persons not seen before.

An index that is asked for ten persons may come back with one, because the nearest hundred faces are all that person's.
So it is asked again for others than those it has shown, until a page shows somebody too far away to change the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.domain import TOP_PERSONS
from app.face_index import NearFace
from app.services.person_search import Target

# Persons per page. A tie of more persons than all pages hold is cut where the index cut it.
PAGES = (2 * TOP_PERSONS, 8 * TOP_PERSONS, 32 * TOP_PERSONS, 128 * TOP_PERSONS)
_MEASURED_PERSONS = 2 * TOP_PERSONS  # the index may have shown another image than the best one of the fifth person


class Walk:
    """What an index has shown for one probe."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._seen: dict[int, NearFace] = {}

    @property
    def seen(self) -> list[int]:
        """The persons shown so far."""
        return sorted(self._seen)

    def take(self, page: Sequence[NearFace]) -> bool:
        """Take a page over; whether a further one could change the answer."""
        for near in page:
            self._seen.setdefault(near.person_id, near)
        return bool(page) and max(near.distance for near in page) <= self._limit()

    def found(self) -> list[int]:
        """One face of each person to measure exactly, the nearest persons first."""
        reach = self.target.max_distance + self.target.error
        within = sorted((near.distance, near.face_id) for near in self._seen.values() if near.distance <= reach)
        needed = sum(distance <= self._limit() for distance, _ in within)
        return [face_id for _, face_id in within[: max(needed, _MEASURED_PERSONS)]]

    def _limit(self) -> float:
        """The distance beyond which nobody can change the answer."""
        best = sorted(near.distance for near in self._seen.values())[:TOP_PERSONS]
        fifth = best[-1] if len(best) == TOP_PERSONS else math.inf
        return min(self.target.max_distance + self.target.error, fifth + self.target.tie)
