"""Persons who may be one: those whose mean faces are as close to each other as two photos of one person."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS, EmbeddingSpec
from app.errors import NotFound
from app.services.people import twins_sql as sql
from app.services.people.person_records import Person, Scope
from app.services.people.person_store import PersonStore
from app.services.stored_values import vector_of

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

MAX_PERSONS = 10_000  # 10,000 x 10,000 x 512 takes seconds; the work grows with the square
MAX_PAIRS = 200  # more is no list that anybody works through

_BLOCK = 512
_DISMISSAL = "twins.dismissed"  # in the audit log; it changes no face
_KEPT_FOR_S = 600.0  # a bulk load that replaces faces one for one changes no count
_LIMIT_S = 20.0
_QUICK_S = 5.0

Template = tuple[int, NDArray[np.float32]]  # a person's id, and the normalised mean of their faces
_Pair = tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class TwinPair:
    """Two persons who may be one; the first was enrolled earlier.

    :param distance: cosine distance of their mean faces, 0 to 2.
    """

    first: Person
    second: Person
    distance: float

    @property
    def similarity(self) -> float:
        """Cosine similarity, 1 - distance."""
        return round(1.0 - self.distance, DISTANCE_DECIMALS)


@dataclass(frozen=True, slots=True)
class Twins:
    """The closest pairs of a domain, closest first.

    :param compared: how many persons were compared with each other.
    :param persons: how many the domain has.
    """

    pairs: tuple[TwinPair, ...]
    compared: int
    persons: int


@dataclass(frozen=True, slots=True)
class _Kept:
    state: tuple[Any, ...]
    made_at: float
    pairs: tuple[_Pair, ...]
    compared: int


class PersonTwins:
    """Finds persons who may be the same one, when asked, and keeps the result until the gallery changes.

    :param threshold: largest cosine distance of two mean faces that is worth a look.
    """

    def __init__(self, database: Database, store: PersonStore, spec: EmbeddingSpec, threshold: float) -> None:
        self._database = database
        self._store = store
        self._spec = spec
        self._threshold = threshold
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def find(self, domain: str) -> Twins:
        """The pairs that nobody has dismissed yet.

        :raises StoreUnavailable: the database cannot be asked.
        """
        with self._lock, self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.DISMISSED, {"domain": domain})
            dismissed = set(cursor.fetchall())
            kept = self._current(cursor, domain, MAX_PAIRS * (2 + len(dismissed) // MAX_PAIRS))
            pairs = [pair for pair in kept.pairs if pair[:2] not in dismissed][:MAX_PAIRS]
            persons = self._persons(cursor, domain, {number for pair in pairs for number in pair[:2]})
        found = (TwinPair(persons[a], persons[b], distance) for a, b, distance in pairs if {a, b} <= set(persons))
        return Twins(tuple(found), kept.compared, int(kept.state[0]))

    def distance(self, domain: str, first: int, second: int) -> float | None:
        """Cosine distance of two persons' mean faces; None where one of them has no face.

        :raises StoreUnavailable: the database cannot be asked.
        """
        with self._database.transaction(_QUICK_S, read_only=True) as cursor:
            found = self._templates(cursor, sql.TEMPLATES_OF, {"domain": domain, "persons": [first, second]})
        return _distance(found[0][1], found[1][1]) if len(found) > 1 else None

    def dismiss(self, scope: Scope, first: int, second: int) -> None:
        """Note that these are two persons, so that they are not suggested again.

        :raises NotFound: the domain lacks one of them.
        """
        low, high = sorted((first, second))
        with self._database.transaction(_QUICK_S) as cursor:
            for person_id in (low, high):
                self._store.require(cursor, scope.domain, person_id)
            if low == high:
                raise NotFound("Name two persons.", code="same_person")
            cursor.execute(sql.DISMISS, {"domain": scope.domain, "first": low, "second": high})
            self._store.audit(cursor, scope, _DISMISSAL, f"person {low} and {high}", {})

    def _current(self, cursor: Cursor, domain: str, most: int) -> _Kept:
        """:param most: pairs; more than are shown, so that some are left when all that are shown were dismissed."""
        scope = {"domain": domain, "spec_key": self._spec.key, "dismissal": _DISMISSAL}
        cursor.execute(sql.STATE, scope)
        (counts,) = cursor.fetchall()
        state = (*counts, most)
        kept = self._kept.get(domain)
        if kept is None or kept.state != state or time.monotonic() - kept.made_at > _KEPT_FOR_S:
            templates = self._templates(cursor, sql.TEMPLATES, {"domain": domain, "most": MAX_PERSONS})
            pairs = closest_pairs(templates, self._threshold, most)
            kept = _Kept(state, time.monotonic(), tuple(pairs), len(templates))
            self._kept[domain] = kept
        return kept

    def _templates(self, cursor: Cursor, query: str, parameters: dict[str, Any]) -> list[Template]:
        cursor.execute(query, parameters | {"spec_key": self._spec.key})
        return [(person_id, _normalised(vector_of(mean))) for person_id, mean in cursor.fetchall()]

    def _persons(self, cursor: Cursor, domain: str, ids: Iterable[int]) -> dict[int, Person]:
        cursor.execute(sql.PERSONS, {"domain": domain, "spec_key": self._spec.key, "persons": sorted(ids)})
        return {id: Person(id, name, created_at, faces) for id, name, created_at, faces in cursor.fetchall()}


def closest_pairs(templates: list[Template], threshold: float, most: int) -> list[_Pair]:
    """The closest pairs within the threshold, closest first: exact, block by block.

    :param templates: by id, ascending; the vectors of length 1.
    :return: (smaller id, larger id, cosine distance) at most `most` times.
    """
    if not templates:
        return []
    ids, matrix = [person_id for person_id, _ in templates], np.stack([vector for _, vector in templates])
    pairs: list[_Pair] = []
    for start in range(0, len(ids), _BLOCK):
        distances = 1.0 - matrix[start : start + _BLOCK] @ matrix[start:].T
        rows, columns = np.nonzero(np.triu(distances <= threshold, k=1))
        pairs += [(ids[start + r], ids[start + c], float(distances[r, c])) for r, c in zip(rows, columns, strict=True)]
        pairs = sorted(pairs, key=lambda pair: pair[2])[:most]
    return [(a, b, round(max(0.0, distance), DISTANCE_DECIMALS)) for a, b, distance in pairs]


def _distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return round(max(0.0, 1.0 - float(first @ second)), DISTANCE_DECIMALS)


def _normalised(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1; opposite faces that cancel each other stay as they are, and are close to nobody."""
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector
