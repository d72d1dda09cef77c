"""Made-up galleries of a wanted shape: each image is its person and noise, at a given cosine to the person's others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceBox, GalleryFace

BOX = FaceBox(10, 20, 110, 120)
RELATIVES = 5  # persons of a family
_BLOCK = 50_000  # rows made at a time: a million in float64 would take 4 GB
_DEFAULT_SAME_PERSON = 0.55


@dataclass(frozen=True, slots=True)
class Shape:
    """What a benchmark's galleries look like.

    :param shares: parts of the rows and persons that the domains get, the largest first; (99, 1) makes two.
    :param same_person: expected cosine of two images of one person.
    :param related: share of the persons who come in families of five; without, nobody but the person would be within
        the threshold, and a recall of five persons would say nothing.
    :param family: expected cosine of two persons of one family, before the noise of their images.
    :param probes: for each domain; of persons in it, in images that are not.
    :param strangers: further probes, of persons who are nowhere, as a share of `probes`.
    """

    rows: int
    persons: int
    dimensions: int = 512
    shares: tuple[int, ...] = (1,)
    same_person: float = _DEFAULT_SAME_PERSON
    related: float = 0.2
    family: float = 0.75
    probes: int = 1000
    strangers: float = 0.1
    seed: int = 1

    @property
    def name(self) -> str:
        """`30000x29`, and the shares where there are several domains."""
        shares = "-" + "-".join(map(str, self.shares)) if len(self.shares) > 1 else ""
        return f"{self.rows}x{self.persons}{shares}"


@dataclass(frozen=True, slots=True, eq=False)
class ProbedGallery:
    """One domain's faces, and probes for it.

    :param embeddings: (N, D) float32, of length 1.
    :param person_of: (N,) int64, ascending.
    :param probes: (F, D) float64 that hold float32 values, as models give them.
    """

    domain: str
    embeddings: NDArray[np.float32]
    person_of: NDArray[np.int64]
    probes: NDArray[np.float64]

    def faces(self) -> Iterator[GalleryFace]:
        """The rows as a gallery takes them; `number_of_person` and `number_of_row` read the names back."""
        for row, (person, embedding) in enumerate(zip(self.person_of.tolist(), self.embeddings, strict=True)):
            yield GalleryFace(person_name(person), image_name(person, row), BOX, embedding)


def person_name(person: int) -> str:
    return f"Person {person:06}"


def image_name(person: int, row: int) -> str:
    return f"{person_name(person)}/{row:08}.jpg"


def number_of_person(name: str) -> int:
    """The inverse of `person_name`."""
    return int(name.removeprefix("Person "))


def galleries(shape: Shape) -> list[ProbedGallery]:
    """The shape's domains, `domain-0` the largest; the same ones for the same shape."""
    rows, persons = _split(shape.rows, shape.shares), _split(shape.persons, shape.shares)
    seeds = np.random.SeedSequence(shape.seed).spawn(len(shape.shares))
    return [
        _gallery(shape, f"domain-{number}", (rows[number], persons[number]), np.random.default_rng(seed))
        for number, seed in enumerate(seeds)
    ]


def _split(total: int, shares: Sequence[int]) -> list[int]:
    """Whole numbers in the ratio of the shares that sum up to the total."""
    ends = [round(total * sum(shares[:count]) / sum(shares)) for count in range(len(shares) + 1)]
    return [end - begin for begin, end in pairwise(ends)]


def _gallery(shape: Shape, domain: str, size: tuple[int, int], rng: np.random.Generator) -> ProbedGallery:
    rows, persons = size
    centres = _centres(shape, persons, rng)
    person_of = np.sort(np.arange(rows) % persons)
    embeddings = np.concatenate(
        [_images(shape, centres[person_of[start : start + _BLOCK]], rng) for start in range(0, rows, _BLOCK)]
    )
    known = _images(shape, centres[rng.integers(0, persons, shape.probes)], rng)
    nowhere = _directions(round(shape.probes * shape.strangers), shape.dimensions, rng)
    probes = np.concatenate([known, _images(shape, nowhere, rng)])
    return ProbedGallery(domain, embeddings, person_of, rng.permutation(probes).astype(np.float64))


def _centres(shape: Shape, persons: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """What the images of each person have in common, (P, D) float32 of length 1."""
    centres = _directions(persons, shape.dimensions, rng)
    families = int(persons * shape.related) // RELATIVES
    related = families * RELATIVES
    ancestors = np.repeat(_directions(families, shape.dimensions, rng), RELATIVES, axis=0)
    centres[:related] = _mixed(ancestors, centres[:related], shape.family)
    return centres


def _images(shape: Shape, centres: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return _mixed(centres, _directions(len(centres), shape.dimensions, rng), shape.same_person)


def _mixed(common: NDArray[np.float32], own: NDArray[np.float32], cosine: float) -> NDArray[np.float32]:
    """Vectors of length 1 whose expected cosine to others with the same `common` is `cosine`."""
    mixed = np.float32(np.sqrt(cosine)) * common + np.float32(np.sqrt(1 - cosine)) * own
    unit: NDArray[np.float32] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit


def _directions(count: int, dimensions: int, rng: np.random.Generator) -> NDArray[np.float32]:
    vectors = rng.standard_normal((count, dimensions), dtype=np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
