"""Probes that a gallery does not hold, but might have been asked for: further images of its persons.

Rows of the gallery would be found at distance zero by any index. Taking images and centres as normally distributed,
with the spread that the gallery itself shows, a further image of a person lies around the mean of the known ones: drawn
towards the middle the more the fewer they are, and spread the more. How images of one person differ is taken from other
persons, a mixture of many differences, so that the probe does not look like one of their images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_MIXED = 16  # differences in each probe
_LENDERS = 1_000  # persons whose images the differences are taken from, at most


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Of which persons and images so many probes shall be made.

    :param persons: (F,) ids of those whose further image it is; :param faces: (F,) how many images they have.
    :param lenders: (F, M) ids of those who lend a difference, or (F, 0) where nobody has two images.
    :param images: (F, M) the image's place among the lender's; :param signs: (F, M) 1 or -1.
    """

    persons: NDArray[np.int64]
    faces: NDArray[np.int64]
    lenders: NDArray[np.int64]
    images: NDArray[np.int64]
    signs: NDArray[np.float32]


def draw(faces_by_person: Mapping[int, int], count: int, rng: np.random.Generator) -> Draw:
    """Choose at random; each person is as likely as any other."""
    persons = rng.choice(np.fromiter(faces_by_person, dtype=np.int64), count)
    several = np.array([person for person, faces in faces_by_person.items() if faces > 1], dtype=np.int64)
    pool = rng.permutation(several)[:_LENDERS]
    shape = (count, _MIXED if len(pool) else 0)
    lenders = pool[rng.integers(0, len(pool), shape)] if len(pool) else np.zeros(shape, dtype=np.int64)
    return Draw(
        persons,
        _looked_up(faces_by_person, persons),
        lenders,
        rng.integers(0, np.maximum(1, _looked_up(faces_by_person, lenders))),
        rng.choice(np.array([-1, 1], dtype=np.float32), shape),
    )


@dataclass(slots=True, eq=False)
class _Spread:
    """The variance of a person's images around their centre, added up over persons."""

    squares: float = 0.0
    freedom: int = 0

    def of(self, fallback: float) -> float:
        return self.squares / self.freedom if self.freedom else fallback


@dataclass(slots=True, eq=False)
class UnseenProbes:
    """Makes the drawn probes from the persons' images as they come by.

    :param max_distance: the threshold; where nobody has two images, they are taken to be at half of it.
    """

    drawn: Draw
    dimensions: int
    max_distance: float
    rng: np.random.Generator
    _means: NDArray[np.float32] = field(init=False)
    _differences: NDArray[np.float32] = field(init=False)
    _spread: _Spread = field(init=False, default_factory=_Spread)

    def __post_init__(self) -> None:
        shape = (len(self.drawn.persons), self.dimensions)
        self._means = np.zeros(shape, dtype=np.float32)
        self._differences = np.zeros(shape, dtype=np.float32)

    @property
    def needed(self) -> list[int]:
        """The persons whose images `add` must be given."""
        needed: list[int] = np.union1d(self.drawn.persons, self.drawn.lenders).tolist()
        return needed

    def add(self, person: int, images: NDArray[np.float32]) -> None:
        """Take over what the probes need of one person.

        :param images: (N, D), all of the person's, of length 1.
        """
        mean = images.mean(axis=0)
        self._means[self.drawn.persons == person] = mean
        rows, places = np.nonzero(self.drawn.lenders == person)
        if not len(rows):
            return
        unbiased = np.sqrt(len(images) / max(1, len(images) - 1))
        # Modulo, because a lender may have lost images since they were counted.
        chosen = images[self.drawn.images[rows, places] % len(images)] - mean
        np.add.at(self._differences, rows, self.drawn.signs[rows, places, np.newaxis] * unbiased * chosen)
        self._spread.squares += float(np.sum((images - mean) ** 2))
        self._spread.freedom += len(images) - 1

    def directions(self) -> NDArray[np.float32]:
        """The probes, (F, D), of length 1."""
        within = min(0.99, self._spread.of(self.max_distance / 2))
        of_mean = within / self.drawn.faces[:, np.newaxis]
        trust = (1.0 - within) / (1.0 - within + of_mean)
        probes = trust * self._means + np.sqrt(1.0 + trust / self.drawn.faces[:, np.newaxis]) * self._noise(within)
        unit: NDArray[np.float32] = (probes / np.linalg.norm(probes, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def _noise(self, within: float) -> NDArray[np.float32]:
        """What differs, with the variance of a person's images: (F, D)."""
        if self.drawn.lenders.shape[1]:
            return np.asarray(self._differences / np.sqrt(_MIXED), dtype=np.float32)
        noise = self.rng.normal(size=self._means.shape)
        noise *= np.sqrt(within) / np.linalg.norm(noise, axis=1, keepdims=True)
        return noise.astype(np.float32)


def _looked_up(faces_by_person: Mapping[int, int], persons: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = [faces_by_person[int(person)] for person in persons.ravel()]
    return np.array(counts, dtype=np.int64).reshape(persons.shape)
