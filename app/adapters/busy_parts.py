"""Where in a photo a small face could be: the parts with fine detail.

Even a face of a dozen pixels has eyes and a mouth, detail of two or three pixels that a wall, the sky or a background
out of focus has not. What has none need not be searched on a large copy, which is where a detector's time goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import ImageBgr

# In grey values, the root mean square of the detail: all over the middle of small faces it was 17 or more on clear
# photos, and 8 or more at half their contrast.
_DETAIL = 7.0
_FINE, _COARSE = 1.0, 3.0  # pixels; detail is what a blur by the first leaves and one by the second does not
_FACE = 9  # pixels: about the smallest face that a detector finds on the larger copy, in pixels of the small one
_MOST = 0.6  # of a photo; where more is busy, one look at all of it is cheaper than many at its parts


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of an image, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def with_hair(self) -> Part:
        """For a face: with the hair around it and the chin's shadow, which have detail and no room for faces."""
        across, down = (self.right - self.left) // 5, (self.bottom - self.top) // 5
        return Part(max(0, self.left - across), max(0, self.top - 2 * down), self.right + across, self.bottom + down)

    def scaled(self, factor: float, shape: tuple[int, ...]) -> Part:
        """The rectangle on a copy of `shape` (H, W, …) that is `factor` times as large."""
        right, bottom = min(round(self.right * factor), shape[1]), min(round(self.bottom * factor), shape[0])
        return Part(round(self.left * factor), round(self.top * factor), right, bottom)

    def of(self, image_bgr: ImageBgr) -> ImageBgr:
        """The pixels."""
        return image_bgr[self.top : self.bottom, self.left : self.right]


def busy_parts(image_bgr: ImageBgr, known: Iterable[Part], margin: int) -> list[Part]:
    """The rectangles in which there could be a face besides the known ones.

    :param known: faces that were found.
    :param margin: pixels around detail that a face may reach beyond it.
    :return: they may overlap; the whole image where nearly all of it is busy.
    """
    height, width = image_bgr.shape[:2]
    busy = (_squared_detail(image_bgr) > _DETAIL**2).astype(np.uint8)
    for face in (each.with_hair() for each in known):
        busy[face.top : face.bottom, face.left : face.right] = 0
    # A line is busy along its length and no broader than the window; a face is busy in both directions.
    broad = cv2.morphologyEx(busy, cv2.MORPH_OPEN, np.ones((_FACE, _FACE), np.uint8))
    reach = cv2.dilate(broad, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
    _, _, boxes, _ = cv2.connectedComponentsWithStats(reach)
    parts = [Part(x, y, x + w, y + h) for x, y, w, h, _ in boxes[1:].tolist()]
    area = sum((part.right - part.left) * (part.bottom - part.top) for part in parts)
    return [Part(0, 0, width, height)] if area > _MOST * width * height else parts


def _squared_detail(image_bgr: ImageBgr) -> NDArray[np.float32]:
    """How much detail there is around each pixel: (H, W), squared grey values."""
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    detail = cv2.GaussianBlur(grey, (0, 0), _FINE) - cv2.GaussianBlur(grey, (0, 0), _COARSE)
    return np.asarray(cv2.blur(detail * detail, (_FACE, _FACE)), dtype=np.float32)
