"""What an operator should know of a PKL gallery before it is carried into the database."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.domain import FloatArray, GalleryFace
from app.gallery_matrix import GalleryMatrix
from app.gallery_view import SearchableGallery
from app.person_names import person_name


@dataclass(frozen=True, slots=True)
class Lint:
    """The lint report of a gallery file.

    :param rows: that can be searched; the file also has those of `left_out`.
    :param persons: with at least one such row.
    :param left_out: rows that cannot be searched, by reason.
    :param missing_images: how many images of the rows do not exist in the gallery folder.
    :param colliding_names: persons whose names differ only in case, spacing or diacritics, each group sorted.
    """

    rows: int
    persons: int
    left_out: Mapping[str, int]
    missing_images: int
    colliding_names: Sequence[Sequence[str]]

    def to_document(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        return asdict(self)


def lint(faces: Iterable[GalleryFace], left_out: Mapping[str, int], folder: Path) -> Lint:
    """Look the rows of a gallery file over.

    :param faces: the rows that can be searched.
    :param folder: where the images should lie.
    """
    rows = 0
    persons: set[str] = set()
    images: set[str] = set()
    for face in faces:
        rows += 1
        persons.add(face.person)
        images.add(face.image)
    missing = sum(not (folder / image).is_file() for image in images)
    return Lint(rows, len(persons), left_out, missing, _collisions(persons))


def all_faces(gallery: SearchableGallery) -> Iterator[GalleryFace]:
    """Every face of a PKL gallery that counts, ordered by image within its parts."""
    for part in gallery.parts:
        yield from part.faces(np.arange(len(part.matrix)))


def rebased(gallery: SearchableGallery, prefix: str) -> GalleryMatrix:
    """The gallery with `prefix` taken off the paths, and the persons read off what remains.

    A gallery's paths are relative already to the folder that all its images share, so that of a prefix given in full
    perhaps only the end is still there: that is taken off as well.

    :param prefix: a folder as the PKL's paths have it, absolute or relative, `/` or Windows separators.
    """
    parts = [part for part in prefix.replace("\\", "/").split("/") if part]
    tails = ["/".join(parts[start:]) + "/" for start in range(len(parts))]
    faces = [_without(face, tails) for face in all_faces(gallery)]
    boxes = np.array([(f.box.x, f.box.y, f.box.w, f.box.h) for f in faces], dtype=np.int32).reshape(-1, 4)
    embeddings: FloatArray = np.stack([np.asarray(face.embedding) for face in faces])
    return GalleryMatrix.of([(face.person, face.image) for face in faces], embeddings, boxes)


def _without(face: GalleryFace, prefixes: Sequence[str]) -> GalleryFace:
    found = next((prefix for prefix in prefixes if face.image.startswith(prefix)), None)
    if found is None:
        return face
    image = face.image.removeprefix(found)
    return replace(face, image=image, person=person_name(image))


def _collisions(persons: Iterable[str]) -> list[list[str]]:
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for person in sorted(persons):
        alike[_folded(person)].append(person)
    return [names for names in alike.values() if len(names) > 1]


def _folded(name: str) -> str:
    """The name without case, spacing and diacritics; the stroke of đ and ł is no diacritic to Unicode."""
    letters = unicodedata.normalize("NFKD", name.casefold().translate({ord("đ"): "dj", ord("ł"): "l"}))
    return "".join(letter for letter in letters if letter.isalnum())
