"""The one pipeline from the bytes of a photo to the answer; it knows no HTTP and no vendor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from app.domain import Face, Mode, Photo, RecognizedFace
from app.errors import DatabaseUnconfigured, NoFace, StoreUnavailable, UnknownDomain
from app.images import ImageLimits, decode_photo
from app.timing import stage

if TYPE_CHECKING:
    from app.services.recognition_pgvector import PgVectorRecognitionService
    from app.services.recognition_service import RecognitionService


class Engine(Protocol):
    """Finds and embeds the faces of a photo."""

    def embed_faces(self, photo: Photo) -> list[Face]:
        """All faces, largest first."""
        ...


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """What a photo must satisfy: the decoder's limits, and the side in pixels below which a face is not searched."""

    image: ImageLimits
    min_face_px: int


class RecognitionController:
    """Decode once, detect and embed once, search in the galleries that the mode asks.

    :param pkl: None where the mode needs no PKL gallery.
    :param pgvector: None where no database is configured.
    """

    def __init__(
        self,
        engine: Engine,
        limits: PhotoLimits,
        mode: Mode,
        pkl: RecognitionService | None,
        pgvector: PgVectorRecognitionService | None,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._mode = mode
        self._pkl = pkl
        self._pgvector = pgvector

    def recognize_face(self, image_bytes: bytes, domain: str) -> dict[str, Any]:
        """The answer of `/recognize`, as CONTRACT.md part A describes it.

        :raises AppError: bad input, unknown domain, or the answering gallery is unavailable.
        """
        answer = {
            Mode.PKL: self._answer_pkl,
            Mode.DUAL: self._answer_dual,
            Mode.PGVECTOR: self._answer_pgvector,
        }[self._mode]
        _require_domain(self._answering_gallery().domains(), domain)
        return self._timed(image_bytes, lambda faces: answer(faces, domain)) | {"mode": str(self._mode)}

    def recognize_face_pgvector_test(self, image_bytes: bytes, domain: str) -> dict[str, Any]:
        """The answer of `/recognize-pgvector-test`: pgvector alone, whatever the mode.

        :raises StoreUnavailable: no database is configured, or it does not answer.
        """
        _require_domain(self._database_gallery().domains(), domain)
        return self._timed(image_bytes, lambda faces: self._answer_pgvector(faces, domain)) | {"mode": Mode.PGVECTOR}

    def _timed(self, image_bytes: bytes, answer: Callable[[list[Face]], dict[str, Any]]) -> dict[str, Any]:
        started = time.perf_counter()
        faces = self._faces_of(image_bytes)
        embedded = time.perf_counter()
        result = answer(faces)
        return (
            {"status": "success"}
            | result
            | {"timing_ms": {"embed": _ms(embedded - started), "search": _ms(time.perf_counter() - embedded)}}
        )

    def _faces_of(self, image_bytes: bytes) -> list[Face]:
        with stage("decode"):
            photo = decode_photo(image_bytes, self._limits.image)
        faces = self._engine.embed_faces(photo)
        if not faces:
            raise NoFace("No face was found in this photo; send one in which a face can be seen.")
        least = self._limits.min_face_px
        large_enough = [f for f in faces if min(f.box.w, f.box.h) >= least]
        if not large_enough:
            raise NoFace(
                f"Every face in this photo is smaller than {least} pixels; send a larger photo.", code="face_too_small"
            )
        return large_enough

    def _answer_pkl(self, faces: Sequence[Face], domain: str) -> dict[str, Any]:
        with stage("pkl"):
            return {"recognized_faces": _to_json(self._pkl_gallery().recognize_faces(faces, domain))}

    def _answer_pgvector(self, faces: Sequence[Face], domain: str) -> dict[str, Any]:
        with stage("pgvector"):
            return {"recognized_faces": _to_json(self._database_gallery().recognize_face_pgvector(faces, domain))}

    def _answer_dual(self, faces: Sequence[Face], domain: str) -> dict[str, Any]:
        control = self._pkl_gallery()
        return self._database_gallery().recognize_face_dual_mode(
            faces, domain, control=lambda: control.recognize_faces(faces, domain)
        )

    def _answering_gallery(self) -> RecognitionService | PgVectorRecognitionService:
        if self._mode is Mode.PGVECTOR or (self._mode is Mode.DUAL and self._database_gallery().answers_dual_mode):
            return self._database_gallery()
        return self._pkl_gallery()

    def _pkl_gallery(self) -> RecognitionService:
        if self._pkl is None:
            raise StoreUnavailable("No PKL gallery is configured in this mode.", code="gallery_unavailable")
        return self._pkl

    def _database_gallery(self) -> PgVectorRecognitionService:
        if self._pgvector is None:
            raise DatabaseUnconfigured
        return self._pgvector


def _require_domain(known: frozenset[str], domain: str) -> None:
    if domain not in known:
        raise UnknownDomain("There is no gallery for this domain.")


def _to_json(faces: Sequence[RecognizedFace]) -> list[dict[str, Any]]:
    return [face.to_json() for face in faces]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
