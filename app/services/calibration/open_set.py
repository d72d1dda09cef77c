"""Every labelled photo as the probe of an open-set search, in all the galleries that leave it out.

Two searches a photo, as ISO/IEC 19795-1:2021 and NIST's FRVT 1:N (Grother, Ngan, Hanaoka, NIST IR 8271, section 3.1)
define them: a *mated* one, in the gallery of all other photos, and a *non-mated* one, in the gallery without any photo
of its person. Neither needs a gallery to be built: the nearest other photo of the person and the nearest photo of
anybody else say how both end, at every threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS

_BLOCK_NUMBERS = 8_000_000  # distances held at a time, 64 MB: 30,000 photos squared would be 7 GB
NOBODY = -1


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetSearches:
    """How the searches of N photos end.

    :param mate: (N,) float64, distance to the nearest other photo of the person; infinite where there is none.
    :param stranger: (N,) float64, distance to the nearest photo of anybody else.
    :param nearest_stranger: (N,) the row of that photo, NOBODY where there is none.
    """

    mate: NDArray[np.float64]
    stranger: NDArray[np.float64]
    nearest_stranger: NDArray[np.intp]

    @property
    def mated(self) -> int:
        """How many photos have another photo of their person."""
        return int(np.isfinite(self.mate).sum())


def search_each(embeddings: NDArray[np.float64], persons: NDArray[np.intp]) -> OpenSetSearches:
    """Search for each photo among all the others.

    :param embeddings: (N, D) float64, N at least 1, no row zero.
    :param persons: (N,) whose photo it is, as a number.
    :return: cosine distances in float64, rounded as the galleries round them.
    """
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows = max(1, _BLOCK_NUMBERS // len(directions))
    blocks = [_search_block(directions, persons, start, rows) for start in range(0, len(directions), rows)]
    mate, stranger, nearest = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return OpenSetSearches(mate, stranger, np.where(np.isfinite(stranger), nearest, NOBODY))


def _search_block(
    directions: NDArray[np.float64], persons: NDArray[np.intp], start: int, rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """For `rows` photos from `start`: nearest mate, nearest stranger, and the stranger's row."""
    block = slice(start, start + rows)
    distances = np.round(1.0 - directions[block] @ directions.T, DISTANCE_DECIMALS)
    places = np.arange(len(distances))
    distances[places, start + places] = np.inf  # a photo is not searched in a gallery that holds it
    is_same = persons[block, np.newaxis] == persons[np.newaxis]
    mate = np.where(is_same, distances, np.inf).min(axis=1)
    distances[is_same] = np.inf
    nearest = distances.argmin(axis=1)
    return mate, distances[places, nearest], nearest
