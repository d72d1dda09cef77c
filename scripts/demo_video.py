"""A short film of the demo's faces, made when it is needed: somebody, two others after a cut, the first one again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.domain import ImageBgr
from app.errors import StartupError
from scripts import demo_faces

_FPS = 25
_WIDTH, _HEIGHT = 640, 360
_CODEC = "mp4v"  # the encoder of OpenCV's wheels that gives the same bytes each time


@dataclass(frozen=True, slots=True)
class _Actor:
    """A face that moves from one place to another while its scene lasts.

    :param person: the number of a demo person; None for somebody whom nobody knows.
    :param path: where its middle is at the beginning and at the end, as shares of the width.
    :param zoom: times the size of its photo, at the beginning and at the end.
    """

    person: int | None
    path: tuple[float, float]
    zoom: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A shot.

    :param shade: grey value of the background.
    """

    seconds: float
    shade: int
    actors: tuple[_Actor, ...]


_FILM = (
    _Scene(2.5, 127, (_Actor(0, (0.3, 0.6)),)),
    _Scene(2.5, 60, (_Actor(2, (0.25, 0.3)), _Actor(None, (0.75, 0.7)))),
    _Scene(2.5, 170, (_Actor(0, (0.65, 0.4), zoom=(0.8, 1.1)),)),
)


def write(path: Path) -> Path:
    """Have the film at `path`, an MP4; one that is there is left as it is.

    :return: the path.
    :raises StartupError: OpenCV cannot encode it.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_stem(f".{path.stem}")
        _encode(unfinished)
        unfinished.replace(path)
    return path


def _encode(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*_CODEC), _FPS, (_WIDTH, _HEIGHT))
    if not writer.isOpened():
        raise StartupError("This build of OpenCV cannot write videos.")
    for scene in _FILM:
        frames = round(scene.seconds * _FPS)
        photos = [demo_faces.probe_photo(actor.person) for actor in scene.actors]
        for number in range(frames):
            writer.write(_picture(scene, photos, number / frames))
    writer.release()


def _picture(scene: _Scene, photos: list[ImageBgr], share: float) -> ImageBgr:
    """The frame when so much of the scene is over, (H, W, 3) uint8."""
    frame = np.full((_HEIGHT, _WIDTH, 3), scene.shade, dtype=np.uint8)
    for actor, photo in zip(scene.actors, photos, strict=True):
        zoom = _between(actor.zoom, share)
        face = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        height, width = face.shape[:2]
        left, top = round(_between(actor.path, share) * _WIDTH - width / 2), (_HEIGHT - height) // 2
        frame[top : top + height, left : left + width] = face
    return frame


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share
