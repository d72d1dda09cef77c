"""The photos of `bench.recognize`: of a folder, or the demo's faces in photos of a newsroom's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.domain import ImageBgr
from app.images import ImageLimits, decode_image
from scripts import demo_faces

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic")
_LIMITS = ImageLimits(max_pixels=80_000_000)
_FACE_SHARE = 0.35  # of the photo's height that a demo face takes with its surroundings
_ASPECT = 2 / 3
_GREY = 127
_GRAIN = 3.0  # standard deviation of the noise that gives a photo the size of a real JPEG


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody who is in the gallery, and a photo to ask with.

    :param enrolled, probe: JPEGs; of a folder's photo, the probe is the same photo in another quality.
    """

    person: str
    enrolled: bytes
    probe: bytes


def subjects(folder: Path | None, long_side: int) -> list[Subject]:
    """One for each photo of the folder, or for each demo person.

    :param long_side: of the probes, in pixels; a larger photo is reduced to it, a smaller one is left as it is.
    :raises FileNotFoundError: the folder holds no photo.
    """
    if folder is None:
        return [_demo_subject(number, long_side) for number in range(demo_faces.MAX_PERSONS)]
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{folder} holds no photo.")
    return [_photographed(folder, path, long_side) for path in found]


def reduced(photo: bytes, long_side: int, quality: int = 90) -> bytes:
    """The photo as a JPEG of at most this long side, in pixels; 0 for no limit."""
    image = decode_image(photo, _LIMITS)
    scale = long_side / max(image.shape[:2]) if long_side else 1.0
    if scale < 1.0:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return _jpeg(image, quality)


def _photographed(folder: Path, path: Path, long_side: int) -> Subject:
    """Each photo is somebody of its own: another photo of the same person is never as near as the photo itself."""
    photo, person = path.read_bytes(), "-".join(path.relative_to(folder).with_suffix("").parts)
    return Subject(person, photo, reduced(photo, long_side, quality=85))


def _demo_subject(number: int, long_side: int) -> Subject:
    gallery: Sequence[tuple[str, ImageBgr]] = list(demo_faces.gallery_photos(number + 1))[-3:]
    probe, person = demo_faces.known_probe(number)
    asked = decode_image(probe, _LIMITS)
    return Subject(person, _jpeg(_in_newsroom(gallery[0][1], long_side)), _jpeg(_in_newsroom(asked, long_side)))


def _in_newsroom(face: ImageBgr, long_side: int) -> ImageBgr:
    """The face in a photo of 3:2, on grey with a grain."""
    height, side = round(long_side * _ASPECT), round(long_side * _ASPECT * _FACE_SHARE)
    grain = np.random.default_rng(0).normal(_GREY, _GRAIN, (height, long_side, 3))
    photo = np.clip(grain, 0, 255).astype(np.uint8)
    top, left = (height - side) // 3, (long_side - side) // 2
    photo[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
    return photo


def _jpeg(image: ImageBgr, quality: int = 90) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
