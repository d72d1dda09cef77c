"""From the bytes of a gallery photo to the faces that are enrolled, or the reason why none is. Runs in a worker."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import structlog

from app.domain import Face
from app.errors import AppError, BadRequest, StartupError, TooLarge, UnsupportedImage
from app.images import ImageLimits, decode_photo

if TYPE_CHECKING:
    from app.adapters.deepface_engine import DeepFaceEngine

log = structlog.get_logger(__name__)


class FacePolicy(StrEnum):
    """What is enrolled of a photo with several faces: the largest, all of them, or none (the photo is skipped)."""

    LARGEST = "largest"
    ALL = "all"
    SKIP = "skip"


class ImageOutcome(StrEnum):
    """What became of an image; all but `done` leave it out of the gallery."""

    DONE = "done"
    NO_FACE = "no_face"
    UNREADABLE = "unreadable"
    SEVERAL_FACES = "several_faces"
    TOO_SMALL = "too_small"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class EmbeddedPhoto:
    """What a worker made of a photo.

    :param faces: those to enrol; none unless the outcome is `done`.
    :param faces_found: all that were found, tiny ones included.
    :param reason: a sentence for the operator, unless the outcome is `done`.
    """

    outcome: ImageOutcome
    reason: str | None = None
    faces: tuple[Face, ...] = ()
    faces_found: int = 0


Results = Generator[tuple[str, EmbeddedPhoto | None], None, None]


class EmbeddingPool(Protocol):
    """Workers that embed photos."""

    def embed(self, photos: Iterable[tuple[str, bytes]]) -> Results:
        """Embed each photo, in any order; photos are taken from the iterable as workers get free.

        :param photos: a key of the caller's and the file's bytes.
        :return: the key with the result; None where workers ended twice over this photo.
        :raises AppError: the workers cannot be started.
        """
        ...


class PhotoEmbedder:
    """Decodes, detects, embeds, and applies the policy for several faces.

    :param min_face_px: a face whose box has a shorter side is not enrolled.
    """

    def __init__(self, engine: DeepFaceEngine, limits: ImageLimits, min_face_px: int, policy: FacePolicy) -> None:
        self._engine = engine
        self._limits = limits
        self._min_face_px = min_face_px
        self._policy = policy

    def __call__(self, photo: bytes) -> EmbeddedPhoto:
        """:raises StartupError: the models cannot be loaded."""
        try:
            result = self._choose(self._engine.embed_faces(decode_photo(photo, self._limits)))
        except StartupError:
            raise
        except AppError as error:
            result = EmbeddedPhoto(_outcome_of(error), error.message)
        except Exception as exc:
            # A bug that one photo brings to light must not stop the other thousands; the log has its traceback.
            log.exception("ingest.photo_failed")
            result = EmbeddedPhoto(ImageOutcome.FAILED, f"An unexpected {type(exc).__name__}; the log has more.")
        log.debug("ingest.embedded", sha256=sha256(photo).hexdigest(), outcome=result.outcome)
        return result

    def _choose(self, found: list[Face]) -> EmbeddedPhoto:
        clear = tuple(face for face in found if min(face.box.w, face.box.h) >= self._min_face_px)
        if not found:
            return EmbeddedPhoto(ImageOutcome.NO_FACE, "No face was found.")
        if not clear:
            reason = f"Every face is smaller than {self._min_face_px} pixels."
            return EmbeddedPhoto(ImageOutcome.TOO_SMALL, reason, faces_found=len(found))
        if len(clear) > 1 and self._policy is FacePolicy.SKIP:
            return EmbeddedPhoto(
                ImageOutcome.SEVERAL_FACES, f"{len(clear)} faces, and the policy is to skip.", faces_found=len(found)
            )
        chosen = clear if self._policy is FacePolicy.ALL else clear[:1]  # largest first
        return EmbeddedPhoto(ImageOutcome.DONE, faces=chosen, faces_found=len(found))


def _outcome_of(error: AppError) -> ImageOutcome:
    if error.error_code == "image_too_small":
        return ImageOutcome.TOO_SMALL
    decoding = isinstance(error, BadRequest | UnsupportedImage | TooLarge)
    return ImageOutcome.UNREADABLE if decoding else ImageOutcome.FAILED
