"""A PKL gallery in memory: one row per face, held in plain arrays so that processes can share them as mapped files."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceBox, FloatArray, GalleryFace

_ENCODING = "utf-8"
# Paths that are not valid UTF-8 reach Python as lone surrogates; they must survive the way through the file.
_ENCODING_ERRORS = "surrogatepass"


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn:
    """N strings as one block of bytes: mapped from a file it costs a process nothing until a string is asked for.

    :param offsets: (N + 1,) int64, where each string begins in `blob`, and where the last one ends.
    :param blob: (B,) uint8, the strings in UTF-8, one after the other.
    """

    offsets: NDArray[np.int64]
    blob: NDArray[np.uint8]

    @classmethod
    def pack(cls, texts: Sequence[str]) -> Self:
        """The column that holds these strings, in this order."""
        encoded = [text.encode(_ENCODING, _ENCODING_ERRORS) for text in texts]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        return cls(offsets, np.frombuffer(b"".join(encoded), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        begin, end = self.offsets[row], self.offsets[row + 1]
        return self.blob[begin:end].tobytes().decode(_ENCODING, _ENCODING_ERRORS)


@dataclass(frozen=True, slots=True, eq=False)
class GalleryMatrix:
    """All enrolled faces of a domain, ordered by image path, so that the order of the rows breaks ties.

    :param embeddings: (N, D) float32 or float64, C-contiguous, as the model gave them (not normalised).
    :param norms: (N,) float64, the Euclidean norm of each row; none is zero.
    :param boxes: (N, 4) int32, x, y, w, h of the face in its image; zeros where the PKL does not tell.
    :param images: the image path of each row, relative to the gallery, with `/`.
    :param persons: the P distinct persons' names, sorted.
    :param person_of: (N,) int32, the place of each row's person in `persons`.
    """

    embeddings: FloatArray
    norms: NDArray[np.float64]
    boxes: NDArray[np.int32]
    images: TextColumn
    persons: TextColumn
    person_of: NDArray[np.int32]

    @classmethod
    def of(cls, faces: Sequence[tuple[str, str]], embeddings: FloatArray, boxes: NDArray[np.int32]) -> Self:
        """The matrix of these faces, put in order.

        :param faces: N pairs of person and image.
        :param embeddings: (N, D); :param boxes: (N, 4).
        """
        rows = sorted(range(len(faces)), key=lambda row: (faces[row][1], *boxes[row].tolist()))
        order = np.array(rows, dtype=np.intp)
        persons = sorted({person for person, _ in faces})
        number = {person: place for place, person in enumerate(persons)}
        ordered = embeddings.take(order, axis=0)
        return cls(
            embeddings=ordered,
            norms=_norms(ordered),
            boxes=boxes.take(order, axis=0),
            images=TextColumn.pack([faces[row][1] for row in rows]),
            persons=TextColumn.pack(persons),
            person_of=np.array([number[faces[row][0]] for row in rows], dtype=np.int32),
        )

    def __len__(self) -> int:
        return len(self.norms)

    @property
    def dimensions(self) -> int:
        return int(self.embeddings.shape[1])

    def image(self, row: int) -> str:
        """The path of the row's image, relative to the gallery."""
        return self.images[row]

    def person(self, row: int) -> str:
        """The name of the row's person."""
        return self.persons[self.person_of[row]]

    @property
    def parts(self) -> tuple[GalleryPart, ...]:
        """The whole of it, as a search takes it."""
        return (GalleryPart(self),)

    def rows_of_image(self, image: str) -> NDArray[np.intp]:
        """The rows of this image; they lie side by side."""
        images = cast("Sequence[str]", self.images)  # a bisection asks for a length and for items, no more
        return np.arange(bisect_left(images, image), bisect_right(images, image))

    def rows_of_person(self, person: str) -> NDArray[np.intp]:
        """The rows of this person, ascending."""
        place = bisect_left(cast("Sequence[str]", self.persons), person)
        known = place < len(self.persons) and self.persons[place] == person
        return np.flatnonzero(self.person_of == place) if known else np.empty(0, dtype=np.intp)

    def face(self, row: int) -> GalleryFace:
        """The whole row: what a migration or a rollback copies."""
        x, y, w, h = self.boxes[row].tolist()
        return GalleryFace(self.person(row), self.image(row), FaceBox(x, y, w, h), self.embeddings[row])


@dataclass(frozen=True, slots=True, eq=False)
class GalleryPart:
    """A matrix, and which of its rows do not count any more.

    :param hidden: (N,) bool, or None where all count.
    """

    matrix: GalleryMatrix
    hidden: NDArray[np.bool_] | None = None

    def visible(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of the rows that count."""
        return rows if self.hidden is None else rows[~self.hidden[rows]]

    def faces(self, rows: NDArray[np.intp]) -> Iterator[GalleryFace]:
        """The faces of those of the rows that count."""
        return (self.matrix.face(row) for row in self.visible(rows).tolist())


def _norms(embeddings: FloatArray) -> NDArray[np.float64]:
    """Norms in float64, row by row: a float64 copy of the whole matrix would double the memory."""
    norms = np.empty(len(embeddings), dtype=np.float64)
    for row, embedding in enumerate(embeddings):
        norms[row] = np.linalg.norm(embedding.astype(np.float64))
    return norms
