"""The pipeline `fast`: DeepFace's detector on small copies of a photo, its crops and its model on large ones.

`DeepFace.represent` gives most of its time to a detector that sees four times the photo, because it draws a border
around it half as wide as the photo. Here the detector looks first at a small copy, on which large faces are found; then
at those parts of the working copy (FACE_IMAGE_MAX_SIDE) in which smaller ones could be; and at the photo beyond the
working copy only where nobody was found. Faces are cut out and aligned by DeepFace's own functions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import nlargest
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.adapters.busy_parts import Part, busy_parts
from app.adapters.deepface_library import DeepFace, Pixels
from app.adapters.face_models import DetectorFacts
from app.adapters.found_faces import FoundFace, reduced
from app.domain import ImageBgr, Photo
from app.timing import stage

# A face that the photo's edge cuts off is found when the detector sees something beyond the edge: of the long side, a
# sixteenth, and DeepFace's half where nobody was found with that.
_BORDER, _WIDE_BORDER = 1 / 16, 1 / 2
_LEAST_BORDER = 24  # pixels
# How far a face reaches beyond its detail, as a share of the photo's long side: a third of the largest face that a
# first look may miss, which is a twelfth of it (dlib finds 40 pixels of 480).
_REACH = 40
_LAST_LOOK = 2  # times the working copy, where the photo has as many pixels
_LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")

Region = Any  # deepface.models.Detector.FacialAreaRegion: x, y, w, h, confidence and landmarks, in pixels


@dataclass(frozen=True, slots=True)
class FastOptions:
    """How faces are looked for and cut out; as in `EngineOptions`."""

    detector: DetectorFacts
    image_max_side: int
    align: bool
    normalization: str
    expand_percentage: int
    max_faces: int


def fast_faces(deepface: DeepFace, photo: Photo, options: FastOptions) -> list[FoundFace]:
    """The photo's faces, the largest `max_faces`; boxes as shares of the photo.

    :raises ValueError, RuntimeError, cv2.error: DeepFace failed on this photo.
    """
    with stage("detect"):
        image, regions = _look(deepface, photo, options)
    with stage("embed"):
        return _embedded(deepface, image, nlargest(options.max_faces, regions, key=_area), options)


def _look(deepface: DeepFace, photo: Photo, options: FastOptions) -> tuple[ImageBgr, list[Region]]:
    """The copy that faces are to be cut from, and where they are on it."""
    side = options.image_max_side
    image = reduced(photo.pixels, side)
    regions = _look_twice(deepface, image, options.detector)
    if regions or not side or max(photo.width, photo.height) <= side:
        return image, regions
    larger = reduced(photo.whole(), _LAST_LOOK * side)
    return larger, _detected(deepface, larger, options.detector)


def _look_twice(deepface: DeepFace, image: ImageBgr, detector: DetectorFacts) -> list[Region]:
    small = reduced(image, detector.first_look or 0)
    on_small = _detected(deepface, small, detector) or _detected(deepface, small, detector, _WIDE_BORDER)
    if small is image:
        return on_small
    if not on_small:
        return _detected(deepface, image, detector)
    factor = max(image.shape) / max(small.shape)
    found = [_moved(region, factor) for region in on_small]
    parts = busy_parts(small, [_part(region) for region in on_small], margin=max(small.shape) // _REACH)
    for part in (each.scaled(factor, image.shape) for each in parts):
        closer = [_moved(each, 1.0, part.left, part.top) for each in _detected(deepface, part.of(image), detector)]
        found += [each for each in closer if not any(_same_face(each, known) for known in found)]
    return found


def _detected(
    deepface: DeepFace, image: ImageBgr, detector: DetectorFacts, border_share: float = _BORDER
) -> list[Region]:
    if detector.grey:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    border = max(_LEAST_BORDER, round(max(image.shape[:2]) * border_share))
    framed = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return [_moved(region, 1.0, -border, -border) for region in deepface.detector.detect_faces(framed)]


def _moved(region: Region, factor: float, right: int = 0, down: int = 0) -> Region:
    """The region on a copy `factor` times as large, moved by pixels; DeepFace's numbers are whole."""

    def point(landmark: tuple[float, float] | None) -> tuple[int, int] | None:
        return landmark and (round(landmark[0] * factor) + right, round(landmark[1] * factor) + down)

    return replace(
        region,
        x=round(region.x * factor) + right,
        y=round(region.y * factor) + down,
        w=round(region.w * factor),
        h=round(region.h * factor),
        **{name: point(getattr(region, name)) for name in _LANDMARKS},
    )


def _same_face(region: Region, known: Region) -> bool:
    """Whether the middle of one lies in the other: nobody's face covers the middle of another's."""
    return _holds(known, region) or _holds(region, known)


def _holds(outer: Region, inner: Region) -> bool:
    across, down = inner.x + inner.w / 2 - outer.x, inner.y + inner.h / 2 - outer.y
    return bool(0 <= across < outer.w and 0 <= down < outer.h)


def _part(region: Region) -> Part:
    left, top = max(0, region.x), max(0, region.y)
    return Part(left, top, max(left, region.x + region.w), max(top, region.y + region.h))


def _area(region: Region) -> int:
    return int(region.w * region.h)


def _embedded(deepface: DeepFace, image: ImageBgr, regions: list[Region], options: FastOptions) -> list[FoundFace]:
    crops = [(region, crop) for region in regions if (crop := _crop(deepface, image, region, options)) is not None]
    if not crops:
        return []
    embeddings = deepface.embed(np.concatenate([crop for _, crop in crops]))
    height, width = image.shape[:2]
    return [_found(region, width, height, vector) for (region, _), vector in zip(crops, embeddings, strict=True)]


def _found(region: Region, width: int, height: int, embedding: NDArray[np.float64]) -> FoundFace:
    share = (region.x / width, region.y / height, region.w / width, region.h / height)
    return FoundFace(*share, embedding, float(region.confidence or 0.0))


def _crop(deepface: DeepFace, image: ImageBgr, region: Region, options: FastOptions) -> Pixels | None:
    """The face as the model takes it, (1, H, W, 3) float32, by the steps of `DeepFace.represent`; None for nothing."""
    face = deepface.extract_face(
        facial_area=region,
        img=image,
        align=options.align,
        expand_percentage=options.expand_percentage,
        width_border=0,
        height_border=0,
        detector_backend=options.detector.name,
    ).img
    if not face.size:
        return None
    height, width = deepface.recognizer.input_shape
    resized = deepface.resize_image(img=face / 255 if face.max() > 1 else face, target_size=(width, height))
    return deepface.normalize_input(img=resized, normalization=options.normalization)
