"""The right answer to many probes at once, by measuring every face: the yardstick of a search plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain import TOP_PERSONS

_ROWS = 2_000  # measured at a time: 32 MB of similarities for 4,000 probes


@dataclass(frozen=True, slots=True)
class Answer:
    """The best persons of one probe: best first, each by their best image, within the threshold.

    :param persons: ids; :param distances: cosine distances in float32, right to 1e-6.
    """

    persons: tuple[int, ...]
    distances: tuple[float, ...]


class ExactAnswers:
    """Collects the five best persons of each probe while the gallery comes by in blocks of whole persons.

    :param probes: (F, D) float32, of length 1.
    """

    def __init__(self, probes: NDArray[np.float32]) -> None:
        self._probes = probes
        self._persons = np.zeros((TOP_PERSONS, len(probes)), dtype=np.int64)
        self._similarities = np.full((TOP_PERSONS, len(probes)), -2.0, dtype=np.float32)

    def add(self, persons: NDArray[np.int64], images: NDArray[np.float32]) -> None:
        """Take a block into account.

        :param persons: (N,) ids, each person's rows together, and in no other block.
        :param images: (N, D) float32, of length 1.
        """
        ids, first, place = np.unique(persons, return_index=True, return_inverse=True)
        if not np.all(np.diff(first) > 0):
            raise ValueError("the rows of a block are ordered by person")
        best = np.full((len(ids), len(self._probes)), -2.0, dtype=np.float32)
        for start in range(0, len(images), _ROWS):
            _raise_to(best, place[start : start + _ROWS], images[start : start + _ROWS] @ self._probes.T)
        self._merge(ids, best)

    def within(self, max_distance: float) -> list[Answer]:
        """For each probe its best persons no farther than this."""
        distances = 1.0 - self._similarities.astype(np.float64)
        return [
            Answer(
                tuple(int(person) for person, d in zip(persons, row, strict=True) if d <= max_distance),
                tuple(float(d) for d in row if d <= max_distance),
            )
            for persons, row in zip(self._persons.T, distances.T, strict=True)
        ]

    def _merge(self, ids: NDArray[np.int64], best: NDArray[np.float32]) -> None:
        similarities = np.concatenate([self._similarities, best])
        persons = np.concatenate([self._persons, np.broadcast_to(ids[:, np.newaxis], best.shape)])
        top = np.argpartition(-similarities, TOP_PERSONS - 1, axis=0)[:TOP_PERSONS]
        order = np.argsort(-np.take_along_axis(similarities, top, axis=0), axis=0)
        top = np.take_along_axis(top, order, axis=0)
        self._similarities = np.take_along_axis(similarities, top, axis=0)
        self._persons = np.take_along_axis(persons, top, axis=0)


def _raise_to(best: NDArray[np.float32], place: NDArray[np.int64], similarities: NDArray[np.float32]) -> None:
    """Raise each person's row of `best` to the best of their rows here.

    :param place: (N,) ascending rows of `best`.
    """
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    rows = slice(int(place[0]), int(place[-1]) + 1)
    np.maximum(best[rows], np.maximum.reduceat(similarities, starts, axis=0), out=best[rows])
