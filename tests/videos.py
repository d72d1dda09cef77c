"""Videos made at test time from real faces, with the truth about whom they show, when and where."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from app.domain import FaceBox, ImageBgr
from app.services.video.records import OUTLIERS, VideoAnalysis
from scripts import demo_faces

WIDTH, HEIGHT, FPS = 640, 360, 25
_TICKS = 90_000  # per second, of timestamps

Photos = Mapping[str, Sequence[ImageBgr]]  # by person
Times = Callable[[int], float]  # seconds at which a frame is shown, by its number


@dataclass(frozen=True)
class Actor:
    """Somebody in a scene; what has two values goes from the first to the second while the scene lasts.

    :param photo: which of the person's photos.
    :param x: of the face's middle, as a share of the frame's width, as `y` of its height.
    :param zoom: times the photo's size.
    :param blur: standard deviation, in pixels.
    """

    person: str
    photo: int = 0
    x: tuple[float, float] = (0.5, 0.5)
    y: float = 0.5
    zoom: tuple[float, float] = (1.0, 1.0)
    turn: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0
    blur: float = 0.0


@dataclass(frozen=True)
class Scene:
    """A shot.

    :param shade: grey value of the background.
    """

    seconds: float
    actors: tuple[Actor, ...] = ()
    shade: int = 127


@dataclass(frozen=True)
class Film:
    """Scenes one after the other, with a cut between any two."""

    photos: Photos
    scenes: tuple[Scene, ...]
    times: Times = field(default=lambda number: number / FPS)

    @property
    def seconds(self) -> float:
        return sum(scene.seconds for scene in self.scenes)

    def frames(self) -> Iterator[tuple[float, ImageBgr]]:
        """Each frame with its time."""
        number = 0
        while (at_s := self.times(number)) < self.seconds - 1e-9:
            yield at_s, self.picture(at_s)
            number += 1

    def picture(self, at_s: float) -> ImageBgr:
        scene, share = self._scene_at(at_s)
        frame = np.full((HEIGHT, WIDTH, 3), scene.shade, dtype=np.uint8)
        for actor in scene.actors:
            _paste(frame, actor, self.photos[actor.person][actor.photo], share)
        return frame

    def person_in(self, at_s: float, box: FaceBox) -> str | None:
        """Whose face is at the middle of this box."""
        scene, share = self._scene_at(at_s)
        middle = (box.x + box.w / 2) / WIDTH, (box.y + box.h / 2) / HEIGHT
        for actor in scene.actors:
            photo, zoom = self.photos[actor.person][actor.photo], _between(actor.zoom, share)
            height, width = photo.shape[0] * zoom, photo.shape[1] * zoom
            across, down = middle[0] - _between(actor.x, share), middle[1] - actor.y
            if abs(across) * WIDTH < width / 2 and abs(down) * HEIGHT < height / 2:
                return actor.person
        return None

    def _scene_at(self, at_s: float) -> tuple[Scene, float]:
        """The scene, and how much of it is over."""
        began = 0.0
        for scene in self.scenes:
            if at_s < began + scene.seconds - 1e-6:
                return scene, (at_s - began) / scene.seconds
            began += scene.seconds
        return self.scenes[-1], 1.0


@dataclass(frozen=True)
class Agreement:
    """How far identities are those of the truth, over all pairs of faces.

    :param precision: of the pairs that are one identity, the share that is one person.
    :param recall: of the pairs that are one person, the share that is one identity.
    """

    precision: float
    recall: float
    faces: int
    identities: int


def agreement(film: Film, analysis: VideoAnalysis) -> Agreement:
    """Measured over all faces that were found; each outlier is an identity of its own, and so is what is no face."""
    labels: list[tuple[int, str]] = []
    for identity in analysis.identities:
        for face in identity.faces:
            own = -len(labels) - 2
            person = film.person_in(face.at_s, face.box) or f"nobody {own}"
            labels.append((own if identity.cluster_id == OUTLIERS else identity.cluster_id, person))
    together = [(a[0] == b[0], a[1] == b[1]) for a, b in combinations(labels, 2)]
    right = sum(same and truly for same, truly in together)
    return Agreement(
        precision=right / max(1, sum(same for same, _ in together)),
        recall=right / max(1, sum(truly for _, truly in together)),
        faces=len(labels),
        identities=sum(identity.cluster_id != OUTLIERS for identity in analysis.identities),
    )


def demo_photos(persons: int) -> dict[str, list[ImageBgr]]:
    """Three photos of each of so many persons, from an installed package."""
    photos: dict[str, list[ImageBgr]] = {}
    for name, photo in demo_faces.gallery_photos(persons):
        photos.setdefault(name, []).append(photo)
    return photos


def write_video(path: Path, frames: Iterable[tuple[float, ImageBgr]], codec: str = "libx264") -> Path:
    """Encode frames, each at its own time: a variable frame rate where the times are not even."""
    with path.open("wb") as file:
        encode(file, path.suffix[1:], frames, codec)
    return path


def encode(file: Any, container_format: str, frames: Iterable[tuple[float, ImageBgr]], codec: str) -> None:
    """Encode into an open file, one that cannot be gone back in included."""
    format_name = {"mkv": "matroska", "ts": "mpegts"}.get(container_format, container_format)
    with av.open(file, "w", format=format_name) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, _TICKS if codec == "libx264" else FPS)
        for at_s, picture in frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(at_s / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_film(path: Path, film: Film, codec: str = "libx264") -> Path:
    """Encode the film."""
    return write_video(path, film.frames(), codec)


def write_sound(path: Path) -> Path:
    """A second of silence, without a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), format="fltp", layout="mono")
        frame.rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def lay_on_its_side(path: Path) -> None:
    """Have an MP4 say that its frames are to be turned by 90 degrees clockwise, as a phone held upright does.

    The matrix is the one of the track's header (ISO/IEC 14496-12, 8.3.2).
    """
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    matrix = header + (52 if content[header] else 40)
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def _paste(frame: ImageBgr, actor: Actor, photo: ImageBgr, share: float) -> None:
    """Draw the actor's photo, turned, zoomed, lit and blurred, with its middle where the actor is."""
    zoom, height, width = _between(actor.zoom, share), *photo.shape[:2]
    move = cv2.getRotationMatrix2D((width / 2, height / 2), _between(actor.turn, share), 1.0)
    turned = cv2.warpAffine(photo, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    sized = cv2.resize(turned, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    lit = cv2.convertScaleAbs(sized, alpha=actor.gain)
    drawn = cv2.GaussianBlur(lit, (0, 0), actor.blur) if actor.blur else lit
    left = round(_between(actor.x, share) * WIDTH - drawn.shape[1] / 2)
    top = round(actor.y * HEIGHT - drawn.shape[0] / 2)
    x, y = max(0, left), max(0, top)
    seen = drawn[y - top : HEIGHT - top, x - left : WIDTH - left]
    frame[y : y + seen.shape[0], x : x + seen.shape[1]] = seen


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share
