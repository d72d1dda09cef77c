"""Leave-one-out searches: what is nearest, without ever searching a photo in a gallery that holds it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.services.calibration import open_set
from app.services.calibration.open_set import NOBODY, search_each


def at_angles(*degrees: float) -> NDArray[np.float64]:
    """Unit vectors in a plane: the cosine distance of two is 1 - cos of the angle between them."""
    angles = np.radians(degrees)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)


def distance(degrees: float) -> float:
    return float(round(1 - np.cos(np.radians(degrees)), 6))


def test_each_photo_finds_the_nearest_other_photo_of_its_person_and_the_nearest_stranger() -> None:
    searches = search_each(at_angles(0, 10, 40, 45), np.array([0, 0, 1, 1]))
    assert searches.mate.tolist() == [distance(10), distance(10), distance(5), distance(5)]
    assert searches.stranger.tolist() == [distance(40), distance(30), distance(30), distance(35)]
    assert searches.nearest_stranger.tolist() == [2, 2, 1, 1]


def test_a_persons_only_photo_is_no_mated_search_and_still_a_stranger_to_the_others() -> None:
    searches = search_each(at_angles(0, 10, 90), np.array([0, 0, 1]))
    assert searches.mated == 2
    assert np.isinf(searches.mate[2])
    assert searches.stranger[2] == distance(80)


def test_where_there_is_one_person_only_nobody_is_a_stranger() -> None:
    searches = search_each(at_angles(0, 10), np.array([0, 0]))
    assert np.isinf(searches.stranger).all()
    assert searches.nearest_stranger.tolist() == [NOBODY, NOBODY]


def test_the_length_of_an_embedding_does_not_count() -> None:
    directions = at_angles(0, 10, 40, 45)
    scaled = directions * np.array([[0.1], [7.0], [1.0], [300.0]])
    persons = np.array([0, 0, 1, 1])
    assert search_each(scaled, persons).mate.tolist() == search_each(directions, persons).mate.tolist()


@pytest.mark.parametrize("numbers_at_a_time", [1, 130, 1000])
def test_in_blocks_it_finds_what_it_finds_at_once(monkeypatch: pytest.MonkeyPatch, numbers_at_a_time: int) -> None:
    rng = np.random.default_rng(2)
    embeddings, persons = rng.standard_normal((60, 16)), rng.integers(0, 12, 60)
    at_once = search_each(embeddings, persons)
    monkeypatch.setattr(open_set, "_BLOCK_NUMBERS", numbers_at_a_time)
    in_blocks = search_each(embeddings, persons)
    for name in ("mate", "stranger", "nearest_stranger"):
        np.testing.assert_array_equal(getattr(in_blocks, name), getattr(at_once, name))
