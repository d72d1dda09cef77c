"""A PKL gallery as it is now: the compiled file, and over it the changes that the file does not hold yet.

The changes are keyed by image: every row of the file that belongs to such an image is hidden, and the journal's faces
of that image (perhaps none) stand in its place. Laid over a file that holds them already, they change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from app.domain import GalleryFace
from app.gallery_matrix import GalleryMatrix, GalleryPart, TextColumn

_KEY_BYTES = 8


class SearchableGallery(Protocol):
    """What a search needs: a compiled file alone, or with changes over it."""

    @property
    def parts(self) -> tuple[GalleryPart, ...]:
        """The matrices to search, each with the rows that do not count."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """The changes of a journal that a gallery file may lack.

    :param keys: (K,) int64, `image_key` of every changed image.
    :param matrix: the faces that stand for them; None where there are only removals.
    """

    keys: NDArray[np.int64]
    matrix: GalleryMatrix | None

    @classmethod
    def of(cls, keys: Iterable[int], faces: Iterable[GalleryFace]) -> Self:
        """The overlay of these changed images and their faces."""
        return cls(np.array(sorted(keys), dtype=np.int64), _matrix_of(list(faces)))


@dataclass(frozen=True, slots=True, eq=False)
class GalleryView:
    """A compiled file with an overlay: searched like one gallery, without a copy of the file's matrix."""

    base: GalleryPart
    added: GalleryMatrix | None

    @classmethod
    def over(cls, base: GalleryMatrix, base_keys: NDArray[np.int64], overlay: Overlay) -> Self:
        """`base` with the overlay's images hidden and its faces beside it.

        :param base_keys: (N,) int64, `keys_of(base.images)`.
        """
        hidden = np.isin(base_keys, overlay.keys)
        return cls(GalleryPart(base, hidden if hidden.any() else None), overlay.matrix)

    @property
    def parts(self) -> tuple[GalleryPart, ...]:
        """The file's rows that still hold, then the journal's."""
        return (self.base,) if self.added is None else (self.base, GalleryPart(self.added))

    def faces(self) -> Iterator[GalleryFace]:
        """Every face, one by one."""
        return chain.from_iterable(part.faces(np.arange(len(part.matrix))) for part in self.parts)

    def faces_of_person(self, person: str) -> list[GalleryFace]:
        """The faces that stand under this name."""
        return [face for part in self.parts for face in part.faces(part.matrix.rows_of_person(person))]

    def faces_of_image(self, image: str) -> list[GalleryFace]:
        """The faces of this image."""
        return [face for part in self.parts for face in part.faces(part.matrix.rows_of_image(image))]


def image_key(image: str) -> int:
    """What a journal keeps of an image's path: the path holds the person's name, a removal must not.

    :return: the first 64 bits of its SHA-256, signed; among a million images two agree once in forty million galleries.
    """
    return int(keys_of(TextColumn.pack([image]))[0])


def keys_of(images: TextColumn) -> NDArray[np.int64]:
    """`image_key` of every row, (N,) int64; 30,000 take about 30 ms, once per compiled file."""
    blob, ends = images.blob.tobytes(), images.offsets.tolist()
    digests = (hashlib.sha256(blob[begin:end]).digest()[:_KEY_BYTES] for begin, end in pairwise(ends))
    return np.frombuffer(b"".join(digests), dtype=">i8").astype(np.int64)


def _matrix_of(faces: list[GalleryFace]) -> GalleryMatrix | None:
    if not faces:
        return None
    boxes = np.array([(f.box.x, f.box.y, f.box.w, f.box.h) for f in faces], dtype=np.int32)
    embeddings = np.stack([face.embedding for face in faces]).astype(np.float64)
    return GalleryMatrix.of([(face.person, face.image) for face in faces], embeddings, boxes)
