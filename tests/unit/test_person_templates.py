"""Templates stand for a person's images: few where they are alike, and never far from any of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.services.search.templates import directions, person_templates

REACH = 0.34


def like(centre: NDArray[np.float32], count: int, noise: float, seed: int = 1) -> NDArray[np.float32]:
    """Images of one person."""
    rng = np.random.default_rng(seed)
    images = centre + noise * rng.normal(size=(count, len(centre))) / np.sqrt(len(centre))
    return directions(images.astype(np.float32))


def axis(place: int, dimensions: int = 64) -> NDArray[np.float32]:
    row: NDArray[np.float32] = np.eye(dimensions, dtype=np.float32)[place]
    return row


def farthest(images: NDArray[np.float32], templates: NDArray[np.float32]) -> float:
    """How far the worst image is from its nearest template."""
    return float((1 - images @ templates.T).min(axis=1).max())


def test_alike_images_have_one_template_and_it_is_their_mean() -> None:
    images = like(axis(0), 20, noise=0.5)
    (template,) = person_templates(images, REACH)
    mean = images.mean(axis=0)
    assert np.allclose(template, mean / np.linalg.norm(mean), atol=1e-6)


def test_a_single_image_is_its_own_template() -> None:
    assert np.allclose(person_templates(axis(3)[np.newaxis], REACH), axis(3))


def test_a_misfiled_image_gets_a_template_of_its_own_and_does_not_bend_the_others() -> None:
    images = np.concatenate([like(axis(0), 20, noise=0.5), axis(9)[np.newaxis]])
    templates = person_templates(images, REACH)
    assert len(templates) == 2
    assert (templates @ axis(9)).max() == pytest.approx(1.0, abs=1e-6)
    assert (templates @ axis(0)).max() > 0.95


def test_two_ways_a_person_looks_are_two_templates() -> None:
    images = np.concatenate([like(axis(0), 15, 0.4), like(axis(1), 10, 0.4)])
    templates = person_templates(images, 0.2)
    assert len(templates) == 2
    assert farthest(images, templates) <= 0.2


@pytest.mark.parametrize("reach", [0.01, 0.1, 0.34, 0.9])
@pytest.mark.parametrize("noise", [0.2, 0.9, 3.0])
def test_every_image_has_a_template_within_reach(reach: float, noise: float) -> None:
    images = np.concatenate([like(axis(place), 12, noise, seed=place) for place in range(4)])
    templates = person_templates(images, reach)
    assert farthest(images, templates) <= reach + 1e-5
    assert len(templates) <= len(images)
    assert np.allclose(np.linalg.norm(templates, axis=1), 1.0, atol=1e-5)


def test_images_that_cancel_each_other_are_covered_too() -> None:
    images = np.stack([axis(0), -axis(0), axis(1), -axis(1)])
    assert farthest(images, person_templates(images, REACH)) <= REACH


def test_the_same_images_give_the_same_templates() -> None:
    images = like(axis(0), 30, noise=1.0)
    assert np.array_equal(person_templates(images, REACH), person_templates(images, REACH))
