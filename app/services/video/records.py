"""The nouns of the video side: what a video is, and whom it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceBox, FloatArray, ImageBgr

OUTLIERS = -1  # the `cluster_id` of faces that belong to nobody; never searched (CONTRACT, part B)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a container says of itself, and what its first frame showed.

    :param duration_s: 0 where the container does not say, as in what browsers record; so are `fps` and `frames`.
    :param width: of an upright frame, in pixels, as `height`.
    :param rotation: degrees clockwise by which frames are turned upright: 0, 90, 180 or 270.
    :param frames: as the container counts them; an estimate.
    """

    duration_s: float
    width: int
    height: int
    fps: float
    frames: int
    codec: str
    rotation: int = 0


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """What a video may be.

    :param max_seconds: of play.
    :param max_pixels: of a frame, width times height.
    """

    max_seconds: float
    max_pixels: int


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame that is looked at.

    :param number: of the container's frame, from 1.
    :param at_s: seconds from the start of the video.
    :param shot: which shot it is of, from 0.
    :param pixels: (H, W, 3) uint8, BGR, upright.
    """

    number: int
    at_s: float
    shot: int
    pixels: ImageBgr


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """How well a face can be recognised by; each part, and `score` over all, is from 0 to 1, higher is better."""

    size: float
    sharpness: float
    pose: float
    brightness: float
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """A face in one frame.

    :param at_s: seconds from the start of the video.
    :param shot: which shot the frame is of, from 0.
    :param crop_jpeg: the face with some room around it; empty where it is not among the best of its identity.
    """

    at_s: float
    shot: int
    box: FaceBox
    quality: FaceQuality
    crop_jpeg: bytes


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFace:
    """A face on its way to a track, which does not keep the embedding: a long video has hundreds of thousands.

    :param embedding: (D,) of unit length.
    """

    face: SeenFace
    embedding: FloatArray


@dataclass(frozen=True, slots=True)
class Appearance:
    """A stretch of the video in which an identity is seen, in seconds from its start."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """Faces that are taken for one person.

    :param cluster_id: from 0, by falling number of faces; `OUTLIERS` for those that belong to nobody.
    :param embedding: (D,) float64 of unit length, the mean of its faces weighted by quality; None for the outliers.
    :param faces: in the order of time.
    """

    cluster_id: int
    embedding: NDArray[np.float64] | None
    faces: tuple[SeenFace, ...]
    appearances: tuple[Appearance, ...]

    @property
    def face_count(self) -> int:
        return len(self.faces)

    @property
    def avg_quality(self) -> float:
        """Mean of the faces' scores, 0 to 1."""
        return round(sum(face.quality.score for face in self.faces) / len(self.faces), 4)

    @property
    def best_face(self) -> SeenFace:
        """The face of the highest quality; of equal ones the earliest."""
        return max(self.faces, key=lambda face: (face.quality.score, -face.at_s))


@dataclass(frozen=True, slots=True, eq=False)
class VideoAnalysis:
    """What was found in a video.

    :param frames: looked at.
    :param identities: by `cluster_id`, the outliers last where there are any.
    """

    facts: VideoFacts
    frames: int
    identities: tuple[Identity, ...]
