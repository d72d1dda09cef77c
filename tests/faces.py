"""Real faces for tests: the demo's, made from an installed package, and an operator's own where a folder is named."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.domain import ImageBgr
from app.images import ImageLimits, decode_image
from scripts import demo_faces

LIMITS = ImageLimits(max_pixels=80_000_000)


def known_face(number: int = 0) -> ImageBgr:
    """A photo of the `number`-th demo person, as it comes out of a JPEG."""
    return decode_image(demo_faces.known_probe(number)[0], LIMITS)


def stranger() -> ImageBgr:
    """A photo of somebody who is in no gallery."""
    return decode_image(demo_faces.unknown_probe(), LIMITS)


def several_faces() -> ImageBgr:
    """A photo of four people."""
    return decode_image(demo_faces.several_faces()[0], LIMITS)


@dataclass(frozen=True, slots=True)
class LabelledPhotos:
    """Real photos by name, and pairs of names with whether they show the same person."""

    photos: dict[str, ImageBgr]
    pairs: tuple[tuple[str, str, bool], ...]
    two_faces: ImageBgr


def labelled_photos() -> LabelledPhotos:
    """The photos of the folder FACE_EVAL_DIR, which never lies in the repository; the test skips without it."""
    named = os.environ.get("FACE_EVAL_DIR")
    if not named:
        pytest.skip("FACE_EVAL_DIR names no folder of labelled photos")
    folder = Path(named)
    with (folder / "pairs.csv").open(newline="") as file:
        pairs = tuple((row["file_x"], row["file_y"], row["Decision"] == "Yes") for row in csv.DictReader(file))
    names = {name for first, second, _ in pairs for name in (first, second)}
    photos = {name: decode_image((folder / name).read_bytes(), LIMITS) for name in sorted(names)}
    return LabelledPhotos(photos, pairs, decode_image((folder / "several_faces.jpg").read_bytes(), LIMITS))
