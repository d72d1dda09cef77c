"""Finds in one domain the rows among which a probe's best persons are: exactly, or through the HNSW index.

Two steps, because five near rows are not five persons. First which persons: an exact scan measures every row of the
domain; a walk through the index reads rows by distance, page by page, until a page holds nothing that could change the
answer. Then the images of the persons found are measured exactly, and the best of each come back with their vectors.

A walk is worth its while in a domain of many persons. Where a person has more images than the index's search list
holds, HNSW's graph falls apart into one cluster per person, and a walk does not see the other persons behind the crowd:
at 29 persons x 1,000 images, with five of them within the threshold, it lost one for 10 to 50 % of the probes, at every
setting tried (m 16 and 32, ef_construction 64 and 200, ef_search 200 and 400). Measuring a row takes 0.7 us there (512
dimensions), so such a domain is measured whole. Searching mean vectors of the persons first was no way out: it misses
a person whose one good image is unlike the others, as each misfiled image is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS, TOP_PERSONS
from app.services import vector_db_sql as sql
from app.services.stored_values import vector_of

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor

MAX_PAGES = 5  # a walk that has not seen enough by then is in a crowd; the exact scan costs as much as ten pages
# Persons measured exactly after a walk: the index may have shown another image than the best one of the fifth person.
_MEASURED_PERSONS = 2 * TOP_PERSONS


@dataclass(frozen=True, slots=True, eq=False)
class StoredFace:
    """A face of the database that may be a person's best match.

    :param embedding: (D,) float32, as it was stored.
    """

    person: str
    image: str
    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is searched, and where.

    :param probe: (D,) float64, of length 1.
    :param max_distance: cosine distance beyond which nobody is of interest.
    """

    domain: str
    spec_id: int
    probe: NDArray[np.float64]
    max_distance: float

    @property
    def error(self) -> float:
        """By how much a distance of pgvector may be off, which sums products and squares in float32.

        A sum of D products is off by at most D·u of both lengths' product, each length by half that (Higham, Accuracy
        and Stability of Numerical Algorithms, 2002, section 3.1); the rest is for the roundings of the probe.
        """
        return (2 * len(self.probe) + 16) * 2.0**-24

    @property
    def tie(self) -> float:
        """Distances of pgvector that differ by less may be equal, or in the other order, after exact rounding."""
        return 10.0**-DISTANCE_DECIMALS + 2 * self.error

    def parameters(self) -> dict[str, Any]:
        """The named parameters of the statements."""
        return {
            "domain": self.domain,
            "spec_id": self.spec_id,
            "dimensions": len(self.probe),
            "probe": self.probe.astype(np.float32),
            "max_distance": self.max_distance + self.error,
            "tie": self.tie,
            "top": TOP_PERSONS,
        }


def nearest_exactly(cursor: Cursor, target: Target) -> list[StoredFace]:
    """The best images of the TOP_PERSONS nearest persons, and of all that tie with them, by measuring every row."""
    return _nearest(cursor, sql.IN_DOMAIN, target.parameters())


def nearest_by_index(cursor: Cursor, target: Target, ef_search: int) -> list[StoredFace]:
    """The same through the HNSW index, and by measuring every row where the index does not lead to an end."""
    parameters = target.parameters()
    cursor.execute(sql.OPEN_WALK, parameters)
    persons = _walk(cursor, target, ef_search)
    cursor.execute(sql.CLOSE_WALK)
    if persons is None:
        return nearest_exactly(cursor, target)
    return _nearest(cursor, sql.OF_PERSONS, parameters | {"persons": persons}) if persons else []


def _walk(cursor: Cursor, target: Target, ef_search: int) -> list[int] | None:
    """The persons to measure; None where no page came that holds nothing of interest."""
    seen: dict[int, float] = {}
    for _ in range(MAX_PAGES):
        cursor.execute(sql.NEXT_PAGE, {"rows": ef_search})
        page = cursor.fetchall()
        if len(page) < ef_search:
            return None  # the graph has no way on, but may have parts that no way leads to
        for person, distance in page:
            seen[person] = min(distance, seen.get(person, math.inf))
        limit = _limit(seen, target)
        if all(distance > limit for _, distance in page):
            return _closest(seen, limit, target)
    return None


def _limit(seen: Mapping[int, float], target: Target) -> float:
    """The distance beyond which a row cannot change the answer any more."""
    best = sorted(seen.values())[:TOP_PERSONS]
    fifth = best[-1] if len(best) == TOP_PERSONS else math.inf
    return min(target.max_distance + target.error, fifth + target.tie)


def _closest(seen: Mapping[int, float], limit: float, target: Target) -> list[int]:
    reach = target.max_distance + target.error
    within = sorted((distance, person) for person, distance in seen.items() if distance <= reach)
    needed = sum(distance <= limit for distance, _ in within)
    return [person for _, person in within[: max(needed, _MEASURED_PERSONS)]]


def _nearest(cursor: Cursor, scope: str, parameters: Mapping[str, Any]) -> list[StoredFace]:
    cursor.execute(sql.NEAREST.format(scope=scope), parameters)
    return [StoredFace(name, image, vector_of(embedding)) for name, image, embedding in cursor.fetchall()]
