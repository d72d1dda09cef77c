"""Photos for `bench.engine`: faces of the demo, pasted into large scenes where it is known who is where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Face, ImageBgr
from scripts import demo_faces

WIDTH, HEIGHT = 2000, 1500
SIZES = (40, 64, 90, 120, 200, 400)  # pixels of the face in the scene
_FACE_SHARE = 150 / 240  # of a demo photo, its face
_LARGE = 420
_CUT = 0.2  # of the face, beyond the photo's edge
_GRAIN = ((4, 10.0), (16, 12.0), (64, 12.0), (250, 14.0))  # of a background: pixels and grey values
_BLUR = 0.01  # of a pasted photo, the softness of its outline


@dataclass(frozen=True, slots=True)
class Pasted:
    """A face in a scene: its middle and side in pixels, turned by degrees."""

    x: int
    y: int
    side: int
    angle: float = 0.0

    def is_shown_by(self, face: Face) -> bool:
        """Whether a found face is this one."""
        middle = face.box.x + face.box.w / 2, face.box.y + face.box.h / 2
        x, y = min(max(self.x, 0), WIDTH), min(max(self.y, 0), HEIGHT)
        near = abs(middle[0] - x) < 0.6 * self.side and abs(middle[1] - y) < 0.6 * self.side
        return near and face.box.w < 2.5 * self.side


@dataclass(frozen=True, slots=True)
class Scene:
    """A JPEG, and the face that is to be found in it."""

    kind: str
    jpeg: bytes
    face: Pasted


def portrait(photo: ImageBgr, seed: int) -> bytes:
    """A full-size JPEG of one large face before a background."""
    scene = _background(seed)
    _paste(scene, photo, Pasted(WIDTH // 2, HEIGHT // 2, _LARGE))
    return _jpeg(scene)


def scenes(count: int) -> Iterator[Scene]:
    """Each kind of scene in each size, with `count` faces."""
    photos = [photo for _, photo in demo_faces.gallery_photos(count + 1)][::3]
    for number, photo in enumerate(photos[:count]):
        for side in SIZES:
            for kind, face in _places(side).items():
                scene = _background(number)
                if kind == "beside a large face":
                    _paste(scene, photos[number + 1], Pasted(1450, 800, _LARGE))
                _paste(scene, photo, face)
                yield Scene(kind, _jpeg(scene), face)


def _places(side: int) -> dict[str, Pasted]:
    beyond = round(side * (0.5 - _CUT))
    return {
        "alone": Pasted(620, 700, side),
        "beside a large face": Pasted(620, 700, side),
        "turned by 30 degrees": Pasted(620, 700, side, 30.0),
        "turned by -30 degrees": Pasted(620, 700, side, -30.0),
        "cut by the left edge": Pasted(beyond, 700, side),
        "cut by the upper edge": Pasted(620, beyond, side),
    }


def _background(seed: int) -> ImageBgr:
    """Noise of several sizes, softly lit: neither flat nor like a face."""
    rng = np.random.default_rng(seed)
    grey = np.full((HEIGHT, WIDTH, 3), 120, dtype=np.float32)
    for size, strength in _GRAIN:
        noise = rng.normal(0, strength, (HEIGHT // size + 2, WIDTH // size + 2, 3)).astype(np.float32)
        grey += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(grey, 0, 255).astype(np.uint8)


def _paste(scene: ImageBgr, photo: ImageBgr, face: Pasted) -> None:
    side = round(face.side / _FACE_SHARE)
    how = cv2.INTER_AREA if side < photo.shape[0] else cv2.INTER_CUBIC
    sized = cv2.resize(photo, (side, side), interpolation=how)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), face.angle, 1.0)
    turned = cv2.warpAffine(sized, turn, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    left, top = face.x - side // 2, face.y - side // 2
    across, down = _inside(left, side, WIDTH), _inside(top, side, HEIGHT)
    under = scene[top + down.start : top + down.stop, left + across.start : left + across.stop]
    share = _outline(side)[down, across]
    under[:] = (turned[down, across] * share + under * (1 - share)).astype(np.uint8)


def _inside(start: int, length: int, limit: int) -> slice:
    """The part of a row of `length` pixels from `start` that lies in a scene of `limit`."""
    return slice(max(0, -start), min(length, limit - start))


def _outline(side: int) -> NDArray[Any]:
    """(side, side, 1) float32: 1 within a circle, 0 outside of it, with a soft edge."""
    circle = np.zeros((side, side), dtype=np.float32)
    cv2.circle(circle, (side // 2, side // 2), round(side * 0.48), 1.0, -1)
    return cv2.GaussianBlur(circle, (0, 0), max(1.0, side * _BLUR))[:, :, np.newaxis]


def _jpeg(scene: ImageBgr) -> bytes:
    return bytes(cv2.imencode(".jpg", scene, (cv2.IMWRITE_JPEG_QUALITY, 92))[1])
