"""Real faces for the demo and the tests, made when they are needed from files that scikit-image's wheel carries.

`lfw_subset.npy` begins with 100 grey faces of 25x25 pixels, `astronaut.png` is a portrait in the public domain.
Persons have invented names: nobody here is to be recognised, and no photo of anybody is in the repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.atomic_file import write_atomically
from app.domain import ImageBgr
from app.errors import StartupError

# Of the 100 faces: those where Dlib with the detector dlib finds exactly one face in the four variations below, with
# all distances among the four at most 0.03 and all distances to any other of them over 0.085 (its threshold is 0.07).
# Found by embedding 100 x 4 images and taking the largest clique of such faces; an integration test measures it again.
_PATCHES = (3, 8, 15, 16, 18, 19, 22, 29, 34, 38, 46, 60, 64, 66, 70, 71, 72, 74, 77, 80, 88, 92, 93, 98)
_STRANGER = 99  # as far from all of them as they are from each other, and in no gallery
MAX_PERSONS = len(_PATCHES)

_SCALE = 6
_BORDER = 45  # pixels around the enlarged face, so that a detector sees more than the inside of one
_BACKGROUND = 127


@dataclass(frozen=True, slots=True)
class _Variation:
    """How one photo of a face differs from another: turned by degrees, zoomed, grey values scaled and shifted."""

    angle: float
    zoom: float
    gain: float
    offset: float


_GALLERY_VARIATIONS = (_Variation(0, 1.0, 1.0, 0), _Variation(4, 1.03, 1.08, 8), _Variation(-4, 0.98, 0.9, 5))
_PROBE_VARIATION = _Variation(-2, 1.02, 1.05, -6)  # no gallery file looks like this


def person_name(number: int) -> str:
    """The invented name of the `number`-th person, counted from 0."""
    return f"Person {number + 1:03d}"


def write_gallery(folder: Path, persons: int = 20) -> tuple[Path, ...]:
    """Have three images of each of `persons` in `folder/<person>/<n>.png`; files that exist are left untouched.

    DeepFace tells a changed image by its size and times, so a second start must not write the same bytes again.

    :return: the images, person by person.
    :raises ValueError: more than MAX_PERSONS are asked for.
    """
    if persons > MAX_PERSONS:
        raise ValueError(f"there are {MAX_PERSONS} demo persons, not {persons}")
    paths = []
    for number in range(persons):
        for image, variation in enumerate(_GALLERY_VARIATIONS, start=1):
            path = folder / person_name(number) / f"{image}.png"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, _encoded(_photo(_PATCHES[number], variation), ".png"))
            paths.append(path)
    return tuple(paths)


def known_probe(number: int = 0) -> tuple[bytes, str]:
    """A JPEG of the `number`-th person that is no gallery image, and the person's name."""
    return _encoded(probe_photo(number), ".jpg"), person_name(number)


def unknown_probe() -> bytes:
    """A JPEG of somebody who is in no gallery."""
    return _encoded(_astronaut(), ".jpg")


def several_faces() -> tuple[bytes, tuple[str | None, ...]]:
    """A JPEG of four faces of different sizes, and who they are from left to right; None for a stranger."""
    people: tuple[tuple[int, str | None, int], ...] = (  # patch, name, scale
        (_PATCHES[2], person_name(2), 6),
        (_STRANGER, None, 8),
        (_PATCHES[4], person_name(4), 5),
        (_PATCHES[7], person_name(7), 10),
    )
    photos = [_photo(patch, _PROBE_VARIATION, scale) for patch, _, scale in people]
    return _encoded(_side_by_side(photos), ".jpg"), tuple(name for _, name, _ in people)


def probe_photo(number: int | None) -> ImageBgr:
    """The `number`-th person as in no gallery image, (H, W, 3) uint8; for None, somebody who is in no gallery."""
    return _photo(_STRANGER if number is None else _PATCHES[number], _PROBE_VARIATION)


def gallery_photos(persons: int) -> Iterator[tuple[str, ImageBgr]]:
    """The images of the gallery as arrays, without a folder: each person's name with each of their photos."""
    for number in range(persons):
        for variation in _GALLERY_VARIATIONS:
            yield person_name(number), _photo(_PATCHES[number], variation)


def _photo(patch: int, variation: _Variation, scale: int = _SCALE) -> ImageBgr:
    """One face, enlarged and varied, (H, W, 3) uint8."""
    face = cv2.resize(_patches()[patch], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    framed = cv2.copyMakeBorder(face, _BORDER, _BORDER, _BORDER, _BORDER, cv2.BORDER_REPLICATE)
    height, width = framed.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), variation.angle, variation.zoom)
    turned = cv2.warpAffine(framed, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    lit = cv2.convertScaleAbs(turned, alpha=variation.gain, beta=variation.offset)
    return np.asarray(cv2.cvtColor(lit, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _side_by_side(photos: list[ImageBgr]) -> ImageBgr:
    """The photos in a row on grey, upper edges aligned."""
    height = max(photo.shape[0] for photo in photos)
    row = np.full((height, sum(photo.shape[1] for photo in photos), 3), _BACKGROUND, dtype=np.uint8)
    left = 0
    for photo in photos:
        row[: photo.shape[0], left : left + photo.shape[1]] = photo
        left += photo.shape[1]
    return row


def _encoded(photo: ImageBgr, extension: str) -> bytes:
    _, encoded = cv2.imencode(extension, photo)
    return bytes(encoded)


@cache
def _patches() -> NDArray[np.uint8]:
    """(200, 25, 25) grey values; the first 100 are faces."""
    grey = np.load(_package_folder() / "lfw_subset.npy", allow_pickle=False)
    return np.asarray(np.clip(np.rint(grey * 255), 0, 255), dtype=np.uint8)


def _astronaut() -> ImageBgr:
    return np.asarray(cv2.imread(str(_package_folder() / "astronaut.png"), cv2.IMREAD_COLOR), dtype=np.uint8)


def _package_folder() -> Path:
    """Where scikit-image keeps its pictures; the package is found and not imported, which would take a second."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise StartupError("The demo's faces come with scikit-image: pip install -r requirements-demo.txt")
    return Path(spec.submodule_search_locations[0]) / "data"
