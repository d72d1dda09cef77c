"""What both pipelines give: a face on some copy of a photo, and what becomes of it on the original."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Face, FaceBox, ImageBgr


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face with its place as shares of the photo's width and height, which hold on every copy.

    :param left: 0 at the photo's left edge, 1 at its right one; negative beyond it.
    :param embedding: (D,) float64.
    :param confidence: the detector's own score.
    """

    left: float
    top: float
    width: float
    height: float
    embedding: NDArray[np.float64]
    confidence: float

    def face_of(self, width: int, height: int) -> Face | None:
        """The face in pixels of the original; None where no distance to it can be measured or it lies outside.

        :param width: of the upright original, in pixels, as `height`.
        """
        if not np.isfinite(self.embedding).all() or not self.embedding.any():
            return None
        x, y = max(0, round(self.left * width)), max(0, round(self.top * height))
        w = min(round((self.left + self.width) * width), width) - x
        h = min(round((self.top + self.height) * height), height) - y
        if w <= 0 or h <= 0:
            return None
        return Face(FaceBox(x, y, w, h), self.embedding, min(max(self.confidence, 0.0), 1.0))


def reduced(image_bgr: ImageBgr, max_side: int) -> ImageBgr:
    """The image, or a copy whose long side is `max_side`; 0 for no limit."""
    height, width = image_bgr.shape[:2]
    if not max_side or max(height, width) <= max_side:
        return image_bgr
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
