"""Videos by OpenCV: what a file is, and the frames that are looked at, each decoded once.

Only containers of the list below are opened. FFmpeg would also open playlists, which name other files and addresses
for it to read.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import ImageBgr
from app.errors import TooLarge, UnsupportedVideo
from app.services.video.records import Frame, VideoFacts, VideoLimits

_HEAD = 512  # bytes that tell the container
_MPEG_TS_PACKET = 188
_MAGIC = (
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (0, b"OggS"),
    (0, b"FLV\x01"),
    (0, b"\x00\x00\x01\xba"),  # MPEG program stream
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF, WMV
    *((4, atom) for atom in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),  # MP4, QuickTime
)

# Cuts are looked for so often per second, on pictures of so many pixels across. Two of them whose values differ by so
# much on average are of different shots (PySceneDetect's ContentDetector has the same default, 27 of 255).
_LOOKS_PER_S = 8.0
_SMALL = (64, 36)
_CUT = 27.0
_ROUNDING_S = 1e-3  # of timestamps, so that the frame at 0.4999 s is the one at half a second

_USUAL_FPS = 25.0  # where the container says none
_LENIENCY_S = 1.0  # the last frame of a video that is as long as allowed


@dataclass(slots=True)
class _Clock:
    """When the frame that was grabbed is shown: by its own timestamp, and by the frame rate where that stands still."""

    capture: cv2.VideoCapture
    frame_s: float
    at_s: float = -1.0

    def tick(self) -> float:
        stated = self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        moves = np.isfinite(stated) and stated > self.at_s
        self.at_s = float(stated) if moves else self.at_s + self.frame_s if self.at_s >= 0 else 0.0
        return self.at_s


@dataclass(slots=True)
class _Shots:
    """Counts shots by how much small pictures differ from one look to the next."""

    number: int = 0
    _last: NDArray[np.int16] | None = field(default=None)

    def is_cut(self, pixels: ImageBgr) -> bool:
        """Whether a shot begins between the frame of the last look and this one."""
        step = max(1, pixels.shape[1] // (4 * _SMALL[0]))  # four samples per small pixel tell as much as all
        small = cv2.resize(pixels[::step, ::step], _SMALL, interpolation=cv2.INTER_AREA).astype(np.int16)
        last, self._last = self._last, small
        cut = last is not None and float(np.abs(small - last).mean()) > _CUT
        self.number += cut
        return cut


@dataclass(frozen=True, slots=True)
class VideoReader:
    """Reads videos with one set of limits, `sample_fps` frames per second of each."""

    limits: VideoLimits
    sample_fps: float

    def probe(self, path: Path) -> VideoFacts:
        """`probe`."""
        return probe(path, self.limits)

    def frames(self, path: Path) -> Generator[Frame]:
        """`read_frames`."""
        return read_frames(path, self.sample_fps, self.limits)


def probe(path: Path, limits: VideoLimits) -> VideoFacts:
    """What the video is, by its container and its first two frames, whatever its name.

    :raises UnsupportedVideo: not a video: another format, no picture, a still image, or so damaged that nothing plays.
    :raises TooLarge: `video_too_long`, `too_many_pixels`.
    """
    with _opened(path) as capture:
        facts = _facts(capture)
        _check(facts.duration_s, facts.width * facts.height, limits)
        if not (capture.grab() and capture.retrieve()[0] and capture.grab()):
            raise _not_a_video("nothing in it can be played, or it is a still image")
    return facts


def read_frames(path: Path, sample_fps: float, limits: VideoLimits) -> Generator[Frame]:
    """Frames at least 1 / `sample_fps` seconds apart by their own timestamps, and the first one of each shot.

    A file that breaks off ends where nothing more can be read.

    :raises UnsupportedVideo: it cannot be opened.
    :raises TooLarge: `video_too_long`, `too_many_pixels`: it is larger than its container says.
    """
    with _opened(path) as capture:
        clock = _Clock(capture, 1 / (_positive(capture, cv2.CAP_PROP_FPS) or _USUAL_FPS))
        shots, number = _Shots(), 0
        next_look_s = next_sample_s = 0.0
        while capture.grab():
            number += 1
            at_s = clock.tick()
            if at_s < min(next_look_s, next_sample_s):
                continue
            read, retrieved = capture.retrieve()
            if not read:
                continue
            pixels = np.asarray(retrieved, dtype=np.uint8)
            _check(at_s, pixels.shape[0] * pixels.shape[1], limits)
            next_look_s = at_s + 1 / _LOOKS_PER_S - _ROUNDING_S
            if shots.is_cut(pixels) or at_s >= next_sample_s:
                next_sample_s = at_s + 1 / sample_fps - _ROUNDING_S
                yield Frame(number, at_s, shots.number, pixels)


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not _is_known_container(path):
        raise _not_a_video("its content is of no video format this service reads")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET: a stranger's broken file is no news of ours
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise _not_a_video("it holds no pictures, or is damaged")
        yield capture
    finally:
        capture.release()


def _is_known_container(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return True
    if head[:1] == b"G" and head[_MPEG_TS_PACKET : _MPEG_TS_PACKET + 1] == b"G":
        return True
    return any(head[at : at + len(magic)] == magic for at, magic in _MAGIC)


def _facts(capture: cv2.VideoCapture) -> VideoFacts:
    fps, frames = _positive(capture, cv2.CAP_PROP_FPS), round(_positive(capture, cv2.CAP_PROP_FRAME_COUNT))
    return VideoFacts(
        duration_s=round(frames / fps, 3) if fps else 0.0,
        width=round(_positive(capture, cv2.CAP_PROP_FRAME_WIDTH)),
        height=round(_positive(capture, cv2.CAP_PROP_FRAME_HEIGHT)),
        fps=round(fps, 3),
        frames=frames,
        codec=_codec(capture),
        rotation=int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360,
    )


def _positive(capture: cv2.VideoCapture, which: int) -> float:
    """A property; 0 where the container does not say, for which OpenCV has odd numbers."""
    value = float(capture.get(which))
    return value if np.isfinite(value) and value > 0 else 0.0


def _codec(capture: cv2.VideoCapture) -> str:
    name = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=False)
    return "".join(letter for letter in name.decode("ascii", errors="ignore") if letter.isalnum()).lower()


def _check(seconds: float, pixels: int, limits: VideoLimits) -> None:
    if seconds > limits.max_seconds + _LENIENCY_S:
        minutes = limits.max_seconds / 60
        raise TooLarge(f"The video is longer than {minutes:g} minutes.", code="video_too_long")
    if pixels > limits.max_pixels:
        limit = limits.max_pixels / 1e6
        raise TooLarge(f"The video's frames have more than {limit:g} megapixels.", code="too_many_pixels")


def _not_a_video(why: str) -> UnsupportedVideo:
    return UnsupportedVideo(
        f"The file is not a video this service reads: {why}. Send MP4, MOV, WebM, MKV, AVI or MPEG."
    )
