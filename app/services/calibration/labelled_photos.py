"""Labelled photos, one folder per person, as embeddings with a number for whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import AppError, BadRequest
from app.services.ingest.embedding import EmbeddingPool, ImageOutcome
from app.services.ingest.images import FoundImage, find_images, read_content

COPY = "copy"  # beside the outcomes of `ImageOutcome`: the same file again would be found at distance 0

Progress = Callable[[int, int], None]  # photos done, photos in all


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFaces:
    """N photos of P persons, one face each.

    :param images: the photos' paths below their folder, with `/`.
    :param persons: (N,) whose photo each is, 0 to P - 1.
    :param embeddings: (N, D) float64.
    :param left_out: how many photos could not be used, by `ImageOutcome` or `COPY`.
    """

    images: tuple[str, ...]
    persons: NDArray[np.intp]
    embeddings: NDArray[np.float64]
    left_out: dict[str, int]

    @property
    def person_count(self) -> int:
        return len(np.unique(self.persons))


def embed_labelled(folder: Path, pool: EmbeddingPool, progress: Progress = lambda done, total: None) -> LabelledFaces:
    """Embed the largest face of each photo below the folder.

    :raises BadRequest: there is no such folder, no folder per person in it, one person only, or no face in any photo.
    :raises AppError: the workers cannot be started.
    """
    photos = _Photos(folder, _images_by_person(folder))
    found: dict[str, NDArray[np.float64]] = {}
    for image, embedded in pool.embed(photos.contents()):
        if embedded is not None and embedded.outcome is ImageOutcome.DONE:
            found[image] = embedded.faces[0].embedding
        else:
            photos.left_out[embedded.outcome if embedded else ImageOutcome.FAILED] += 1
        progress(len(found) + photos.left_out.total(), len(photos.images))
    if not found:
        raise BadRequest(f"None of the {len(photos.images)} photos below {folder} holds a face that can be embedded.")
    return _labelled(found, photos)


@dataclass(frozen=True, slots=True)
class _Photos:
    """The photos of the folder, and why some of them are not used."""

    folder: Path
    images: dict[str, FoundImage]
    left_out: Counter[str] = field(default_factory=Counter)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Each photo that can be read, copies of one person's photo once."""
        known: set[tuple[str, str]] = set()
        for path, image in self.images.items():
            try:
                content = read_content(self.folder, image)
            except AppError:
                self.left_out[ImageOutcome.UNREADABLE] += 1
                continue
            if (key := (image.person, content.sha256)) in known:
                self.left_out[COPY] += 1
                continue
            known.add(key)
            yield path, content.photo


def _images_by_person(folder: Path) -> dict[str, FoundImage]:
    images = {image.path: image for image in find_images(folder) if "/" in image.path}
    persons = {image.person for image in images.values()}
    if not images:
        raise BadRequest(f"There are no photos in folders below {folder}: it wants one folder per person.")
    if len(persons) == 1:
        raise BadRequest(f"There is one person only below {folder}: nobody can be mistaken for another.")
    return images


def _labelled(found: dict[str, NDArray[np.float64]], photos: _Photos) -> LabelledFaces:
    images = sorted(found)
    _, numbers = np.unique([photos.images[image].person for image in images], return_inverse=True)
    return LabelledFaces(
        images=tuple(images),
        persons=np.asarray(numbers, dtype=np.intp),
        embeddings=np.stack([found[image] for image in images]),
        left_out=dict(sorted(photos.left_out.items())),
    )
