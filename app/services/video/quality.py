"""How well a face of a video can be recognised by: four measures from 0 to 1, and their geometric mean.

No measure is a verdict; they order the faces of an identity, and weigh what each adds to its embedding.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import FaceBox, ImageBgr
from app.services.people.enrolment_quality import sharpness
from app.services.video.records import FaceQuality

FULL_SIZE_PX = 112  # the side that ArcFace takes; a larger face has nothing that the model sees
HALF_SHARPNESS = 60.0  # variance of the Laplacian at which a face counts half: the least that enrolment takes
LIT = (80.0, 180.0)  # mean grey values between which a face is lit well, of 0 to 255
_MIRROR_SIDE = 24  # pixels; finer detail than this differs between the halves of any face


def face_quality(image: ImageBgr, box: FaceBox) -> FaceQuality:
    """The quality of the face in this box.

    size = min(1, shorter side / 112 px); sharpness = v / (v + 60) with v the variance of the Laplacian at 112 x 112
    pixels; brightness = 1 for mean grey values of 80 to 180, falling linearly to 0 at 0 and at 255; pose as in
    `_symmetry`; score = the fourth root of their product.

    :param image: (H, W, 3) uint8, BGR, upright; the box lies in it.
    """
    crop = image[box.y : box.y + box.h, box.x : box.x + box.w]
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float64)
    variance = sharpness(grey)
    parts = (
        min(1.0, min(box.w, box.h) / FULL_SIZE_PX),
        variance / (variance + HALF_SHARPNESS),
        _symmetry(grey),
        _lit(float(grey.mean())),
    )
    score = float(np.prod(parts)) ** (1 / len(parts))
    size, sharp, pose, brightness, rounded = (round(part, 4) for part in (*parts, score))
    return FaceQuality(size=size, sharpness=sharp, pose=pose, brightness=brightness, score=rounded)


def _symmetry(grey: NDArray[np.float64]) -> float:
    """(1 + r) / 2, with r the correlation of the face with its mirror image: it falls as the head turns or tilts.

    It stands in for the angle of the head, which needs landmarks that not every detector gives; light from one side
    lowers it too.
    """
    small = cv2.resize(grey, (_MIRROR_SIDE, _MIRROR_SIDE), interpolation=cv2.INTER_AREA)
    centred = small - small.mean()
    power = float((centred * centred).sum())
    return (1 + float((centred * centred[:, ::-1]).sum()) / power) / 2 if power else 0.0


def _lit(mean: float) -> float:
    dark, bright = LIT
    return min(1.0, mean / dark, (255.0 - mean) / (255.0 - bright))
