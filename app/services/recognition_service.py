"""The PKL gallery: the answers of `DeepFace.find`, from a matrix that is already in memory.

A search has two steps. One matrix product gives every row's similarity in the matrix's own precision; the rows that
could be within the threshold, rounding errors allowed for, are then measured again exactly, as DeepFace does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from app.domain import TOP_PERSONS, Face, FaceMatches, FloatArray, Match, RecognizedFace
from app.errors import SpecMismatch
from app.gallery_matrix import GalleryMatrix, GalleryPart
from app.gallery_view import SearchableGallery
from app.services.matching import ROUNDING_MARGIN, Candidate, MatchPolicy, exact_distances, rank_persons

_BLOCK_ROWS = 4096  # rows measured exactly at a time: bounds the float64 copies, whatever the threshold
# Roundings besides those of the D products and sums: of the probe's numbers, of its length, and of the comparison.
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
        found = [self._best_candidates(part, probes) for part in self._current(domain).parts]
        return [rank_persons(chain.from_iterable(of_parts), self._policy) for of_parts in zip(*found, strict=True)]

    def rows_within_threshold(self, domain: str, probe: NDArray[np.float64]) -> list[Match]:
        """Every row within the threshold, as `DeepFace.find` lists them: best first, ties ordered by image.

        :param probe: (D,) float64.
        :raises UnknownDomain, StoreUnavailable, SpecMismatch: as `search`.
        """
        found = chain.from_iterable(self._matches(part, probe) for part in self._current(domain).parts)
        return sorted(found, key=lambda match: (match.distance, match.image))

    def _matches(self, part: GalleryPart, probe: NDArray[np.float64]) -> list[Match]:
        ((rows, distances),) = self._within_threshold(part, probe[np.newaxis])
        matrix, confidence_of = part.matrix, self._policy.confidence_of
        return [
            Match(matrix.person(row), matrix.image(row), distance, confidence_of(distance, True))
            for row, distance in zip(rows.tolist(), distances.tolist(), strict=True)
        ]

    def _best_candidates(self, part: GalleryPart, probes: NDArray[np.float64]) -> list[list[Candidate]]:
        """For each probe the part's best persons: the gallery's five best are among the five best of its parts."""
        return [
            _best_of_each_person(part.matrix, rows, distances)
            for rows, distances in self._within_threshold(part, probes)
        ]

    def _within_threshold(self, part: GalleryPart, probes: NDArray[np.float64]) -> list[MeasuredRows]:
        """For each probe the rows within the threshold, ascending, and their exact distances."""
        matrix = part.matrix
        if probes.shape[1] != matrix.dimensions:
            raise SpecMismatch(
                f"The probe has {probes.shape[1]} dimensions, the gallery {matrix.dimensions}: they were not embedded"
                " with one model. Set FACE_MODEL to the model the gallery was embedded with."
            )
        pairs = []
        for rows, probe in zip(_candidate_rows(matrix, probes, self._policy.threshold), probes, strict=True):
            counted = part.visible(rows)
            distances = _exact(matrix.embeddings, counted, probe)
            within = distances <= self._policy.threshold
            pairs.append((counted[within], distances[within]))
        return pairs


def _candidate_rows(matrix: GalleryMatrix, probes: NDArray[np.float64], threshold: float) -> list[NDArray[np.intp]]:
    """For each probe every row that is within the threshold, and few that are not.

    A dot product of D numbers computed in precision u is off by at most D·u / (1 - D·u) times the product of both
    norms, in whatever order it is summed (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
    """
    precision = matrix.embeddings.dtype
    roundings = (matrix.dimensions + _EXTRA_ROUNDINGS) * float(np.finfo(precision).eps) / 2
    margin = roundings / (1 - roundings) + ROUNDING_MARGIN
    directions = _directions(probes)
    products = np.matmul(directions.astype(precision), matrix.embeddings.T)
    least = (1.0 - threshold - margin) * matrix.norms
    found = (np.flatnonzero(row_products >= least) for row_products in products)
    nothing = np.empty(0, dtype=np.intp)
    return [rows if usable else nothing for rows, usable in zip(found, np.any(directions, axis=1), strict=True)]


def _directions(probes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probes at length 1; zeros where one has no direction."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(probes, axis=1, keepdims=True)
    directions = np.zeros_like(probes)
    np.divide(probes, norms, out=directions, where=np.isfinite(norms) & (norms > 0))
    return directions


def _exact(embeddings: FloatArray, rows: NDArray[np.intp], probe: NDArray[np.float64]) -> NDArray[np.float64]:
    blocks = [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)]
    return np.concatenate([np.empty(0), *(exact_distances(embeddings[block], probe) for block in blocks)])


def _best_of_each_person(
    matrix: GalleryMatrix, rows: NDArray[np.intp], distances: NDArray[np.float64]
) -> list[Candidate]:
    """The best row of each person that can be among the first TOP_PERSONS.

    Done on numbers before any name or path is decoded: a probe of a person with thousands of images has thousands of
    rows within the threshold. The rows ascend with their image paths, so the first of equal rows is the one to keep.
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
