"""Finds in one domain the rows among which a probe's best persons are: exactly, or through the index over images.

Two steps, because five near rows are not five persons. First which persons: an exact scan measures every row of the
domain; a walk through the index reads rows by distance, page by page, until a page holds nothing that could change the
answer. Then the images of the persons found are measured exactly, and the best of each come back with their vectors.

A walk is worth its while in a domain of many persons. Where a person has more images than the index's search list
holds, HNSW's graph falls apart into one cluster per person, and a walk does not see the other persons behind the crowd:
at 29 persons x 1,000 images, with five of them within the threshold, it lost one for 10 to 50 % of the probes, at every
setting tried (m 16 and 32, ef_construction 64 and 200, ef_search 200 and 400). Measuring a row takes 0.7 us there (512
dimensions), so such a domain is measured whole until it is tuned, and then searched through `search.templates`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS, TOP_PERSONS
from app.services import vector_db_sql as sql
from app.services.matching import exact_distances
from app.services.stored_values import vector_of, vector_text

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
            "probe": vector_text(self.probe.astype(np.float32)),
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
    persons = _walk(cursor, target, parameters | {"rows": ef_search})
    if persons is None:
        return _nearest(cursor, sql.IN_DOMAIN, parameters, first=sql.CLOSE_WALK)
    return _nearest(cursor, sql.OF_PERSONS, parameters | {"persons": persons}, first=sql.CLOSE_WALK)


def _walk(cursor: Cursor, target: Target, parameters: Mapping[str, Any]) -> list[int] | None:
    """The persons to measure; None where no page came that holds nothing of interest. The cursor stays open."""
    seen: dict[int, float] = {}
    for number in range(MAX_PAGES):
        cursor.execute(sql.NEXT_PAGE if number else f"{sql.OPEN_WALK}; {sql.NEXT_PAGE}", parameters)
        page = cursor.fetchall()
        if len(page) < parameters["rows"]:
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


def _nearest(cursor: Cursor, scope: str, parameters: Mapping[str, Any], first: str = "") -> list[StoredFace]:
    """:param first: a statement that goes to the server together with this one."""
    cursor.execute(f"{first};{sql.NEAREST.format(scope=scope)}", parameters)
    return stored_faces(cursor)


def best_distance(faces: Sequence[StoredFace], target: Target) -> float:
    """The distance of the face nearest to the probe; of none, infinity."""
    if not faces:
        return math.inf
    return float(exact_distances(np.stack([face.embedding for face in faces]), target.probe).min())


def stored_faces(cursor: Cursor) -> list[StoredFace]:
    """The rows of a result whose columns are a person's name, an image and a vector as `vector_send` gives it."""
    return [StoredFace(name, image, vector_of(embedding)) for name, image, embedding in cursor.fetchall()]
