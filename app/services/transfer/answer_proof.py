"""Holds one gallery's answers against another's: the same five best persons, at the same distances."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS, FaceMatches
from app.gallery_matrix import GalleryMatrix, GalleryPart
from app.gallery_view import SearchableGallery
from app.services.gallery import Gallery
from app.services.matching import MatchPolicy

# Nobody is beyond this cosine distance: a comparison is about persons, whatever the model's threshold.
EVERYBODY = MatchPolicy(threshold=2.0, confidence_of=lambda distance, verified: 0.0)

_NORMAL_95 = 1.959964  # the normal distribution's quantile for a two-sided interval of 95 %


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the answers of two galleries agree.

    :param equal: of so many probes both gave the same persons in the same order at the same distances.
    :param found: of so many of the `expected` persons the other gallery found, at the same distance.
    """

    probes: int
    equal: int
    found: int
    expected: int

    @property
    def match_rate(self) -> float:
        """Share of the probes with equal answers, 0 to 1."""
        return self.equal / self.probes if self.probes else 0.0

    @property
    def recall(self) -> float:
        """Share of the expected persons that were found, 0 to 1."""
        return self.found / self.expected if self.expected else 0.0

    @property
    def recall_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the recall (`wilson_interval`)."""
        return wilson_interval(self.found, self.expected)

    def to_document(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        rates = {"match_rate": self.match_rate, "recall": self.recall, "recall_95": list(self.recall_interval)}
        return asdict(self) | rates


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927): unlike the usual
    one it is right near 1, where a recall is.
    """
    if trials == 0:
        return 0.0, 1.0
    share, z2 = successes / trials, _NORMAL_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _NORMAL_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def compare_galleries(
    expected: Gallery,
    other: Gallery,
    domain: str,
    probes: NDArray[np.float64],
    progress: Callable[[int], None] = lambda _: None,
) -> Agreement:
    """Ask both galleries for each probe.

    :param probes: (F, D) float64.
    :param progress: told of each probe that is done.
    :raises UnknownDomain, StoreUnavailable, SpecMismatch: as `Gallery.search`.
    """
    pairs = []
    for probe in probes[:, np.newaxis]:
        pairs.append((expected.search(domain, probe)[0], other.search(domain, probe)[0]))
        progress(1)
    return agreement(pairs)


def agreement(pairs: list[tuple[FaceMatches, FaceMatches]]) -> Agreement:
    """Count over pairs of the expected and the other answer to a probe."""
    named = [(_persons(expected), _persons(other)) for expected, other in pairs]
    return Agreement(
        probes=len(named),
        equal=sum(expected == other for expected, other in named),
        found=sum(len(set(expected) & set(other)) for expected, other in named),
        expected=sum(len(expected) for expected, _ in named),
    )


def random_probes(gallery: SearchableGallery, count: int, seed: int) -> NDArray[np.float64]:
    """Vectors of random rows of a PKL gallery, (F, D) float64, all of them where it has no more than `count`.

    float32, as the database keeps them: it is the galleries that are compared, not the rounding of the probe.
    """
    rows = [(part, row) for part in gallery.parts for row in part.visible(np.arange(len(part.matrix)))]
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    vectors = [rows[place][0].matrix.embeddings[rows[place][1]] for place in chosen]
    return np.array(vectors, dtype=np.float32).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Float32Gallery:
    """A PKL gallery with the numbers that the database keeps of it; most PKLs hold no finer ones anyway."""

    parts: tuple[GalleryPart, ...]

    @classmethod
    def of(cls, gallery: SearchableGallery) -> Self:
        """The gallery in float32; a matrix that is so already is not copied."""
        return cls(tuple(replace(part, matrix=_in_float32(part.matrix)) for part in gallery.parts))


def _in_float32(matrix: GalleryMatrix) -> GalleryMatrix:
    return replace(matrix, embeddings=matrix.embeddings.astype(np.float32, copy=False))


def _persons(matches: FaceMatches) -> list[tuple[str, float]]:
    return [(match.person, round(match.distance, DISTANCE_DECIMALS)) for match in matches]
