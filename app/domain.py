"""The nouns of the house: frozen values without behaviour that touches the outside world."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest, SpecMismatch

FloatArray = NDArray[np.float64] | NDArray[np.float32]
ImageBgr = NDArray[np.uint8]

TOP_PERSONS = 5  # the contract's top-5: the five best distinct persons
HNSW_MAX_DIMENSIONS = 2000  # of pgvector's index over the type `vector` (its README, "HNSW")
DEEPFACE_PIPELINE = "deepface"  # of every gallery that DeepFace made
DISTANCE_DECIMALS = 6  # DeepFace rounds every distance so; so do both galleries

_DOMAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_TENANT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class Mode(StrEnum):
    """Who answers `/recognize` (CONTRACT: VECTOR_DB_ENABLED and VECTOR_DB_DUAL_MODE)."""

    PKL = "pkl"
    DUAL = "dual"
    PGVECTOR = "pgvector"


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """Everything that shapes an embedding; vectors of different specs are never compared.

    :param pipeline: the code path, FACE_PIPELINE; `deepface` gives the numbers of `DeepFace.represent`.
    :param weights_sha256: hex digest of the recogniser's weights file.
    :param image_max_side: long side, in pixels, a photo is reduced to before detection; 0 for no limit.
    :param dimensions: length of the embedding vector.
    """

    model: str
    weights_sha256: str
    detector: str
    align: bool
    normalization: str
    expand_percentage: int
    image_max_side: int
    dimensions: int
    colour_order: str = "bgr"
    pipeline: str = DEEPFACE_PIPELINE

    def to_document(self) -> dict[str, Any]:
        """A JSON-serialisable dict, one key per field."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> EmbeddingSpec:
        """The inverse of `to_document`; unknown keys are ignored so that an older reader survives a newer writer."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in document.items() if k in known})

    @property
    def key(self) -> str:
        """16 hex digits that name this spec: SHA-256 over its canonical JSON."""
        canonical = json.dumps(self.to_document(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Readable differences against the fields that `other` records ('detector: mtcnn there, dlib here')."""
        mine = self.to_document()
        return [
            f"{name}: {value} there, {mine[name]} here"
            for name, value in other.items()
            if name in mine and value != mine[name]
        ]

    def require_length(self, dimensions: int) -> None:
        """:raises SpecMismatch: an embedding of so many numbers is not of this spec."""
        if dimensions != self.dimensions:
            raise SpecMismatch(
                f"An embedding of {dimensions} numbers does not belong to {self.model}, which makes "
                f"{self.dimensions}: embed it with the FACE_MODEL that is set."
            )

    def require_match(self, other: dict[str, Any], where: str, what_to_do: str) -> None:
        """Refuse to go on when `where` (a file, a table) records a different spec.

        :raises SpecMismatch: with what differs and what to do about it.
        """
        differences = self.differences(other)
        if differences:
            raise SpecMismatch(
                f"{where} was embedded with another spec ({'; '.join(differences)}). {what_to_do}",
                details={"differences": differences},
            )


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photo, perhaps at a reduced scale.

    :param pixels: (H, W, 3) uint8, BGR, upright.
    :param width: of the upright original, in pixels, as `height`; boxes of faces are in these.
    :param whole: the original's pixels, decoded anew where `pixels` are fewer.
    """

    pixels: ImageBgr
    width: int
    height: int
    whole: Callable[[], ImageBgr]

    @classmethod
    def of(cls, image_bgr: ImageBgr) -> Photo:
        """An array that is the original, as a video's frame is."""
        return cls(image_bgr, image_bgr.shape[1], image_bgr.shape[0], lambda: image_bgr)


@dataclass(frozen=True, slots=True)
class FaceBox:
    """A face's place in the photo: top left corner and size in pixels of the upright original."""

    x: int
    y: int
    w: int
    h: int

    @property
    def area(self) -> int:
        return self.w * self.h


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face of a probe photo.

    :param embedding: (D,) float64, as the model gave it (not normalised).
    :param detection_confidence: the detector's own score, 0 to 1.
    """

    box: FaceBox
    embedding: NDArray[np.float64]
    detection_confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class GalleryFace:
    """One enrolled face: a row of a gallery.

    :param image: path of the image, relative to the domain's gallery folder, with `/`.
    :param embedding: (D,) float64 or float32.
    """

    person: str
    image: str
    box: FaceBox
    embedding: FloatArray
    image_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A person within the threshold, by the best of their images.

    :param image: the gallery's path of that image.
    :param distance: cosine distance in float64, rounded to 6 places, as `DeepFace.find` gives it.
    :param confidence: DeepFace's 51 to 100 for a match.
    """

    person: str
    image: str
    distance: float
    confidence: float

    @property
    def similarity(self) -> float:
        """Cosine similarity, 1 - distance."""
        return round(1.0 - self.distance, DISTANCE_DECIMALS)


FaceMatches = tuple[Match, ...]  # of one probe face: at most TOP_PERSONS distinct persons, best first


@dataclass(frozen=True, slots=True)
class RecognizedFace:
    """A probe face and the persons it matches, best first; nobody within the threshold: an empty tuple."""

    box: FaceBox
    matches: FaceMatches

    def to_json(self) -> dict[str, Any]:
        """The element of `recognized_faces` and of `pgvector_results` (CONTRACT, part A)."""
        best = self.matches[0] if self.matches else None
        return {
            "box": asdict(self.box),
            "name": best.person if best else None,
            "distance": best.distance if best else None,
            "similarity": best.similarity if best else None,
            "confidence": best.confidence if best else None,
            "image": best.image if best else None,
            "matches": [_match_to_json(m) for m in self.matches],
        }


def _match_to_json(match: Match) -> dict[str, Any]:
    return {
        "name": match.person,
        "distance": match.distance,
        "similarity": match.similarity,
        "confidence": match.confidence,
        "image": match.image,
    }


def check_domain_name(name: str) -> str:
    """`name` if it can be a domain (it becomes a folder, a label and a part of an index's name).

    :raises BadRequest: anything but letters, digits, `_` and `-`, at most 63 of them.
    """
    if not _DOMAIN_NAME.fullmatch(name):
        raise BadRequest(
            "A domain's name is 1 to 63 letters, digits, '_' or '-', and begins with a letter or digit.",
            code="invalid_domain",
        )
    return name


def check_tenant(name: str) -> str:
    """`name` if it can be a tenant.

    :raises BadRequest: anything but letters, digits, `.`, `_` and `-`, at most 64 of them.
    """
    if not _TENANT.fullmatch(name):
        raise BadRequest(
            "A tenant's name is 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter, a digit or '_'.",
            code="invalid_tenant",
        )
    return name


def person_key(domain: str, name: str | None) -> str | None:
    """A stable pseudonym for a person in logs, where names must not stand: 12 hex digits, the same in both galleries.

    In psql: `left(encode(sha256(convert_to(domain || '/' || name, 'UTF8')), 'hex'), 12)`.
    """
    if name is None:
        return None
    return hashlib.sha256(f"{domain}/{name}".encode()).hexdigest()[:12]
