"""Templates: few vectors that stand for a person's many images, such that none of the images is far from all of them.

The mean of all images alone would lose the one that is unlike the others, as each misfiled image is. So a template is
the mean of images that lie close to it, and what lies close to none gets templates of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NO_LENGTH = 1e-6
_ROUNDING = 1e-6  # of a product in float32


def directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors at length 1.

    :param vectors: (N, D), none of them zero.
    """
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def person_templates(images: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """One person's templates: each image has one within `reach`; the same images give the same templates.

    :param images: (N, D), of length 1, N at least 1.
    :param reach: cosine distance.
    :return: (T, D), of length 1, T at most N.
    """
    found, left = [], images
    while len(left):
        template, covered = _next_template(left, reach)
        found.append(template)
        left = left[~covered]
    return np.stack(found)


def _next_template(left: NDArray[np.float32], reach: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The mean of those that the mean of all covers, and which of the images are within its reach."""
    first = _centre(left)
    group = _within(left, first, reach)
    if not group.any():  # too unlike each other for a common centre: begin with the image that is most like it
        first = left[np.argmax(left @ first)]
        group = _within(left, first, reach)
    template = _centre(left[group])
    covered = _within(left, template, reach)
    return (template, covered) if covered.any() else (first, group)


def _centre(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Their mean at length 1; of images that cancel each other, the first."""
    mean = images.mean(axis=0)
    length = np.linalg.norm(mean)
    centre: NDArray[np.float32] = mean / length if length > _NO_LENGTH else images[0]
    return centre


def _within(images: NDArray[np.float32], centre: NDArray[np.float32], reach: float) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = 1.0 - images @ centre <= reach + _ROUNDING
    return near
