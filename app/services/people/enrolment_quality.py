"""Whether a photo is good enough to know somebody by: one clear face, large, sharp and lit well enough.

A gallery photo answers for years; a bad one makes strangers look alike. What is refused says which limit it missed, and
by how much, so that whoever took the photo knows what to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain import Face, FaceBox, ImageBgr
from app.errors import AppError, NoFace

CROP_SIDE = 112  # sharpness depends on the scale it is measured at, so each face is measured at the same one
_LUMA_BGR = np.array([0.114, 0.587, 0.299])  # ITU-R BT.601, as OpenCV's COLOR_BGR2GRAY


class PoorPhoto(AppError):
    """The photo misses a limit of enrolment."""

    code, status = "photo_quality", 422


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """What an enrolled face must satisfy.

    :param min_face_px: shorter side of the face's box, in pixels of the photo.
    :param min_sharpness: variance of the Laplacian over the face, in grey values squared at 112 x 112 pixels.
    :param min_brightness: mean grey value of the face, 0 to 255.
    :param dominance: how many times larger than any other face of the photo the enrolled one must be.
    """

    min_face_px: int
    min_sharpness: float
    min_brightness: float
    max_brightness: float
    dominance: float


@dataclass(frozen=True, slots=True)
class Shortcoming:
    """One limit that a photo misses."""

    check: str
    measured: float
    required: float

    def to_json(self) -> dict[str, str | float]:
        """For the refusal's details."""
        return {"check": self.check, "measured": round(self.measured, 2), "required": self.required}

    def __str__(self) -> str:
        side = "at most" if self.measured > self.required else "at least"
        return f"{self.check} is {self.measured:.1f}, {side} {self.required:g} is needed"


def dominant_face(faces: Sequence[Face], dominance: float) -> Face:
    """The one face a photo is about: its only one, or one whose area is `dominance` times that of any other.

    :param faces: largest first.
    :raises NoFace: there is none.
    :raises PoorPhoto: code `several_faces`, none stands out.
    """
    if not faces:
        raise NoFace("No face was found in this photo; send one in which the face can be seen.")
    ratio = faces[0].box.area / max(1, faces[1].box.area) if len(faces) > 1 else np.inf
    if ratio < dominance:
        raise PoorPhoto(
            f"This photo shows {len(faces)} faces, and the largest is {ratio:.1f} times the next; send a photo of one"
            f" person, or one in which that face is {dominance:g} times as large.",
            code="several_faces",
            details={"faces": len(faces), "ratio": round(ratio, 2), "required": dominance},
        )
    return faces[0]


def shortcomings(image: ImageBgr, box: FaceBox, limits: QualityLimits) -> list[Shortcoming]:
    """Every limit that the face misses.

    :param image: (H, W, 3) uint8, upright.
    """
    face = _grey_crop(image, box)
    brightness = float(face.mean())
    least = (
        Shortcoming("face_size_px", min(box.w, box.h), limits.min_face_px),
        Shortcoming("sharpness", sharpness(face), limits.min_sharpness),
        Shortcoming("brightness", brightness, limits.min_brightness),
    )
    missed = [each for each in least if each.measured < each.required]
    if brightness > limits.max_brightness:
        missed.append(Shortcoming("brightness", brightness, limits.max_brightness))
    return missed


def require_quality(image: ImageBgr, box: FaceBox, limits: QualityLimits) -> None:
    """Refuse a face that misses a limit.

    :raises PoorPhoto: `details` lists each limit that is missed, what was measured, and what is required.
    """
    missed = shortcomings(image, box, limits)
    if missed:
        raise PoorPhoto(
            f"This photo is not good enough to know somebody by: {'; '.join(map(str, missed))}.",
            details={"missed": [each.to_json() for each in missed]},
        )


def sharpness(grey: NDArray[np.float64]) -> float:
    """Variance of the Laplacian at a fixed size (Pech-Pacheco et al., Diatom autofocusing in brightfield, 2000).

    :param grey: (H, W) float64, 0 to 255, of any size.
    """
    face = _resized(grey, CROP_SIDE)
    laplacian = face[:-2, 1:-1] + face[2:, 1:-1] + face[1:-1, :-2] + face[1:-1, 2:] - 4 * face[1:-1, 1:-1]
    return float(laplacian.var())


def _grey_crop(image: ImageBgr, box: FaceBox) -> NDArray[np.float64]:
    crop = image[max(0, box.y) : box.y + box.h, max(0, box.x) : box.x + box.w]
    return np.asarray(crop @ _LUMA_BGR, dtype=np.float64)


def _resized(grey: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """To (side, side): by the means of blocks, then linearly; samples alone take a large face's noise for edges."""
    block = max(1, min(grey.shape) // side)
    height, width = (length - length % block for length in grey.shape)
    means = grey[:height, :width].reshape(height // block, block, width // block, block).mean(axis=(1, 3))
    return _interpolated(_interpolated(means, side).T, side).T


def _interpolated(rows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    places = np.linspace(0, len(rows) - 1, count)
    below = np.floor(places).astype(np.intp)
    above = np.minimum(below + 1, len(rows) - 1)
    share = (places - below)[:, np.newaxis]
    return np.asarray(rows[below] * (1 - share) + rows[above] * share)
