"""What the PKL gallery has and the database lacks, the reverse, and what both have in different states."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.domain import GalleryFace
from app.errors import Conflict
from app.person_names import person_name
from app.services.transfer.binary_copy import sent_vector
from app.services.transfer.stored_faces import FaceKey


@dataclass(frozen=True, slots=True)
class Difference:
    """How the two galleries of a domain differ, face by face.

    :param equal: how many faces both have alike.
    :param other_vector: faces that both have, with vectors that differ when both are rounded to float32.
    :param other_person: faces that both have, with one vector, under two names.
    """

    equal: int
    only_in_pkl: tuple[FaceKey, ...]
    only_in_database: tuple[FaceKey, ...]
    other_vector: tuple[FaceKey, ...]
    other_person: tuple[FaceKey, ...]

    @property
    def is_none(self) -> bool:
        """Whether the galleries hold the same."""
        return not (self.only_in_pkl or self.only_in_database or self.other_vector or self.other_person)

    @property
    def pkl_is_empty(self) -> bool:
        """Whether the PKL holds nothing: rather a mistake than a wish to empty the database."""
        return not (self.equal or self.only_in_pkl or self.other_vector or self.other_person)

    @property
    def database_is_empty(self) -> bool:
        """Whether the database holds nothing of the domain."""
        return not (self.equal or self.only_in_database or self.other_vector or self.other_person)

    @property
    def to_load(self) -> frozenset[FaceKey]:
        """What the database has to take over to hold all that the PKL holds."""
        return frozenset(self.only_in_pkl + self.other_vector + self.other_person)

    def to_document(self, examples: int = 20) -> dict[str, Any]:
        """A JSON-serialisable dict: of each kind the count, and the images of some."""
        kinds = ("only_in_pkl", "only_in_database", "other_vector", "other_person")
        named: dict[str, tuple[FaceKey, ...]] = {kind: getattr(self, kind) for kind in kinds}
        counts: dict[str, Any] = {kind: len(keys) for kind, keys in named.items()}
        images = {kind: [image for image, _ in keys[:examples]] for kind, keys in named.items()}
        return {"equal": self.equal, **counts, "examples": images}


def compare(pkl: Iterable[GalleryFace], stored: Iterable[tuple[str, FaceKey, bytes]]) -> Difference:
    """Hold the faces of a PKL gallery against those of the database.

    Memory goes with the number of faces in the database, some 500 bytes for each.

    :param stored: as `StoredFaces.digests` gives them.
    """
    held = {key: (person, digest) for person, key, digest in stored}
    exported = {_key_in_pkl(person, key): key for key, (person, _) in held.items() if person_name(key[0]) != person}
    found: dict[str, list[FaceKey]] = {"equal": [], "only_in_pkl": [], "other_vector": [], "other_person": []}
    for face in pkl:
        key = (face.image, face.box)
        theirs = held.pop(key if key in held else exported.get(key, key), None)
        found[_verdict(face, theirs)].append(key)
    return Difference(
        equal=len(found["equal"]),
        only_in_pkl=tuple(found["only_in_pkl"]),
        only_in_database=tuple(held),
        other_vector=tuple(found["other_vector"]),
        other_person=tuple(found["other_person"]),
    )


def _verdict(face: GalleryFace, theirs: tuple[str, bytes] | None) -> str:
    if theirs is None:
        return "only_in_pkl"
    person, digest = theirs
    if digest != _digest(face):
        return "other_vector"
    return "equal" if person == face.person else "other_person"


def as_in_pkl(face: GalleryFace) -> GalleryFace:
    """The face as a PKL can hold it, where the person is what the image's path says.

    :raises Conflict: no path can say this name.
    """
    image = _image_in_pkl(face.person, face.image)
    if person_name(image) != face.person:
        raise Conflict(
            "A person's name cannot be written as a folder's ('/' or spaces in it): rename the person first."
        )
    return face if image == face.image else replace(face, image=image)


def _key_in_pkl(person: str, key: FaceKey) -> FaceKey:
    image, box = key
    return _image_in_pkl(person, image), box


def _image_in_pkl(person: str, image: str) -> str:
    """The image's path or, where it says another name than the database, one below a folder of that name."""
    return image if person_name(image) == person else f"{person}/{image}"


def _digest(face: GalleryFace) -> bytes:
    with np.errstate(over="ignore"):
        return hashlib.sha256(sent_vector(np.asarray(face.embedding, dtype=np.float32))).digest()
