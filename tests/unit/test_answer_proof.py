"""How the answers of two galleries are held against each other."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain import FaceMatches, Match
from app.gallery_matrix import GalleryMatrix
from app.services.transfer.answer_proof import Agreement, Float32Gallery, agreement, random_probes, wilson_interval


def answer(*persons: tuple[str, float]) -> FaceMatches:
    return tuple(Match(person, f"{person}/1.jpg", distance, 0.0) for person, distance in persons)


def matrix(rows: int, dtype: type = np.float32) -> GalleryMatrix:
    embeddings = np.random.default_rng(0).normal(size=(rows, 8)).astype(dtype)
    names = [(f"Person {row}", f"Person {row}/1.jpg") for row in range(rows)]
    return GalleryMatrix.of(names, embeddings, np.zeros((rows, 4), dtype=np.int32))


def test_equal_answers_agree_entirely() -> None:
    both = answer(("Ana", 0.0), ("Bojan", 0.25))
    assert agreement([(both, both)]) == Agreement(probes=1, equal=1, found=2, expected=2)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (answer(("Ana", 0.0)), 1),
        (answer(("Ana", 0.0), ("Bojan", 0.250001)), 1),
        (answer(("Bojan", 0.25), ("Ana", 0.0)), 2),
        ((), 0),
    ],
    ids=["a person is missing", "a distance differs", "the order differs", "nobody"],
)
def test_any_difference_makes_an_answer_unequal_and_what_is_there_counts_for_the_recall(
    other: FaceMatches, found: int
) -> None:
    seen = agreement([(answer(("Ana", 0.0), ("Bojan", 0.25)), other)])
    assert (seen.equal, seen.found, seen.recall) == (0, found, found / 2)


def test_without_probes_nothing_is_proved() -> None:
    assert (agreement([]).match_rate, agreement([]).recall) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(100, 100, 0.963, 1.0), (0, 100, 0.0, 0.037), (81, 263, 0.2553, 0.3662), (0, 0, 0.0, 1.0)],
)
def test_the_wilson_interval_is_that_of_the_textbooks(successes: int, trials: int, low: float, high: float) -> None:
    """81 of 263 is the worked example of Newcombe, Statistics in Medicine 17 (1998), method 3."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-4)


def test_probes_are_distinct_rows_and_the_same_for_the_same_seed() -> None:
    gallery = matrix(50)
    probes = random_probes(gallery, 20, seed=3)
    assert len(np.unique(probes, axis=0)) == 20
    assert np.array_equal(probes, random_probes(gallery, 20, seed=3))
    assert len(random_probes(gallery, 200, seed=3)) == 50


def test_a_gallery_of_finer_numbers_is_compared_in_those_of_the_database() -> None:
    (part,) = Float32Gallery.of(matrix(5, np.float64)).parts
    assert part.matrix.embeddings.dtype == np.float32
