"""The PKL gallery: the answers of `DeepFace.find`, from a matrix that is already in memory.

A search has two steps. One matrix product gives every row's similarity in the matrix's own precision; the rows that
could change the answer, rounding errors allowed for, are then measured again exactly, as DeepFace does. A person with a
thousand images within the threshold is decided by the few of them that could be the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from app.domain import TOP_PERSONS, Face, FaceMatches, FloatArray, Match, RecognizedFace
from app.errors import SpecMismatch
from app.gallery_matrix import GalleryMatrix, GalleryPart
from app.gallery_view import SearchableGallery
from app.services.matching import ROUNDING_MARGIN, Candidate, MatchPolicy, direction_of, exact_distances, rank_persons

_BLOCK_ROWS = 4096  # rows measured exactly at a time: bounds the float64 copies, whatever the threshold
# Roundings besides those of the products, sums and norms: of the probe's numbers, a quotient, and the comparison.
_EXTRA_ROUNDINGS = 8

MeasuredRows = tuple[NDArray[np.intp], NDArray[np.float64]]


class RecognitionService:
    """Finds the best persons of a domain's PKL gallery for probe embeddings; implements `Gallery`.

    :param current: the domain's gallery as it is now; raises UnknownDomain, StoreUnavailable or SpecMismatch.
    :param list_domains: the domains that can be searched now.
    """

    def __init__(
        self,
        current: Callable[[str], SearchableGallery],
        list_domains: Callable[[], frozenset[str]],
        policy: MatchPolicy,
    ) -> None:
        self._current = current
        self._list_domains = list_domains
        self._policy = policy

    def domains(self) -> frozenset[str]:
        """The domains that can be searched now."""
        return self._list_domains()

    def recognize_faces(self, faces: Sequence[Face], domain: str) -> list[RecognizedFace]:
        """Each face with the persons it matches, in the order given.

        :raises UnknownDomain, StoreUnavailable, SpecMismatch: as `search`.
        """
        if not faces:
            return []
        found = self.search(domain, np.stack([face.embedding for face in faces]))
        return [RecognizedFace(face.box, matches) for face, matches in zip(faces, found, strict=True)]

    def search(self, domain: str, probes: NDArray[np.float64]) -> list[FaceMatches]:
        """The best persons within the threshold, for each probe.

        :param probes: (F, D) float64. A probe that is zero or not finite matches nobody.
        :return: F tuples, each of at most TOP_PERSONS distinct persons, best first.
        :raises UnknownDomain: there is no gallery of that name.
        :raises StoreUnavailable: it has no usable PKL.
        :raises SpecMismatch: its embeddings, or the probes, are of another spec.
        """
        parts = self._current(domain).parts
        found = (chain.from_iterable(self._best_candidates(part, probe) for part in parts) for probe in probes)
        return [rank_persons(candidates, self._policy) for candidates in found]

    def rows_within_threshold(self, domain: str, probe: NDArray[np.float64]) -> list[Match]:
        """Every row within the threshold, as `DeepFace.find` lists them: best first, ties ordered by image.

        :param probe: (D,) float64.
        :raises UnknownDomain, StoreUnavailable, SpecMismatch: as `search`.
        """
        found = chain.from_iterable(self._matches(part, probe) for part in self._current(domain).parts)
        return sorted(found, key=lambda match: (match.distance, match.image))

    def _matches(self, part: GalleryPart, probe: NDArray[np.float64]) -> list[Match]:
        rows, distances = self._measured(part.matrix, self._near(part, probe).rows, probe)
        matrix, confidence_of = part.matrix, self._policy.confidence_of
        return [
            Match(matrix.person(row), matrix.image(row), distance, confidence_of(distance, True))
            for row, distance in zip(rows.tolist(), distances.tolist(), strict=True)
        ]

    def _best_candidates(self, part: GalleryPart, probe: NDArray[np.float64]) -> list[Candidate]:
        """The part's best persons: the gallery's five best are among the five best of its parts."""
        rows = _deciding_rows(part.matrix, self._near(part, probe))
        return _best_of_each_person(part.matrix, *self._measured(part.matrix, rows, probe))

    def _near(self, part: GalleryPart, probe: NDArray[np.float64]) -> _NearRows:
        if len(probe) != part.matrix.dimensions:
            raise SpecMismatch(
                f"The probe has {len(probe)} dimensions, the gallery {part.matrix.dimensions}: they were not embedded"
                " with one model. Set FACE_MODEL to the model the gallery was embedded with."
            )
        return _near_rows(part, probe, self._policy.threshold)

    def _measured(self, matrix: GalleryMatrix, rows: NDArray[np.intp], probe: NDArray[np.float64]) -> MeasuredRows:
        """Those of the rows that are within the threshold, and their exact distances."""
        distances = _exact(matrix.embeddings, rows, probe)
        within = distances <= self._policy.threshold
        return rows[within], distances[within]


@dataclass(frozen=True, slots=True, eq=False)
class _NearRows:
    """Every row that is within the threshold, and few that are not.

    :param rows: (R,) ascending, those only that count.
    :param similarities: (R,) float64, cosines as the matrix's own precision gives them.
    :param margin: a similarity, made a distance and rounded to 6 places, is off by less.
    """

    rows: NDArray[np.intp]
    similarities: NDArray[np.float64]
    margin: float


def _near_rows(part: GalleryPart, probe: NDArray[np.float64], threshold: float) -> _NearRows:
    """One pass over the matrix, at the speed of the memory.

    Several probes are not multiplied together: a product of two matrices takes as long for each.
    """
    matrix, margin = part.matrix, _margin(part.matrix)
    direction = direction_of(probe)
    if direction is None:
        return _NearRows(np.empty(0, dtype=np.intp), np.empty(0), margin)
    products = matrix.embeddings @ direction.astype(matrix.embeddings.dtype)
    rows = part.visible(np.flatnonzero(products >= (1.0 - threshold - margin) * matrix.norms))
    return _NearRows(rows, products[rows] / matrix.norms[rows], margin)


def _margin(matrix: GalleryMatrix) -> float:
    """By how much a cosine of the matrix's own precision may be off, and half a unit of the last kept decimal.

    A dot product of D numbers computed in precision u is off by at most D·u / (1 - D·u) times the product of both
    norms, in whatever order it is summed (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1);
    each of the two norms, whose squares are such sums, by half of that at most.
    """
    roundings = (2 * matrix.dimensions + _EXTRA_ROUNDINGS) * float(np.finfo(matrix.embeddings.dtype).eps) / 2
    return roundings / (1 - roundings) + ROUNDING_MARGIN


def _deciding_rows(matrix: GalleryMatrix, near: _NearRows) -> NDArray[np.intp]:
    """The rows that can be the best of one of the first TOP_PERSONS, or tie with one: some dozens of thousands.

    A row that is two margins worse than another of its person is worse after rounding, too; and so is a person that is
    two margins worse than the fifth.
    """
    if not len(near.rows):
        return near.rows
    persons = matrix.person_of[near.rows]
    best = np.full(len(matrix.persons), -np.inf)
    np.maximum.at(best, persons, near.similarities)
    fifth = np.sort(best[best > -np.inf])[-TOP_PERSONS:][0]  # of fewer persons, the last one's
    decides: NDArray[np.bool_] = near.similarities >= np.maximum(best[persons], fifth) - 2 * near.margin
    return near.rows[decides]


def _exact(embeddings: FloatArray, rows: NDArray[np.intp], probe: NDArray[np.float64]) -> NDArray[np.float64]:
    blocks = [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)]
    return np.concatenate([np.empty(0), *(exact_distances(embeddings[block], probe) for block in blocks)])


def _best_of_each_person(
    matrix: GalleryMatrix, rows: NDArray[np.intp], distances: NDArray[np.float64]
) -> list[Candidate]:
    """The best row of each person that can be among the first TOP_PERSONS.

    Done on numbers before any name or path is decoded. The rows ascend with their image paths, so the first of equal
    rows is the one to keep.
    """
    if not len(rows):
        return []
    order = np.lexsort((rows, distances))
    _, first = np.unique(matrix.person_of[rows[order]], return_index=True)
    best = order[first]
    cutoff = np.sort(distances[best])[:TOP_PERSONS][-1]  # persons at one distance are told apart by name, later
    return [
        Candidate(matrix.person(rows[place]), matrix.image(rows[place]), float(distances[place]))
        for place in best[distances[best] <= cutoff]
    ]
