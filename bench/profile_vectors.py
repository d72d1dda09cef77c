"""A made-up index of profiles whose recall says something about a real one: faces lie on few of the 512 dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.services.profiles.photo_keys import photo_key
from app.services.profiles.writing import ProfileDocument, ProfileFace

ACCOUNTS = 5  # profiles of a person who has several
_SEVERAL = 0.5  # share of the profiles that belong to such persons
_SAME_PERSON = 0.9  # before the noise: 0.86 with it, so that a person's profiles are all above 0.70
_NOISE = 0.05  # share of a vector's length, squared, that lies outside of the faces' dimensions
_INTRINSIC = 64
_BLOCK = 50_000
_PLATFORMS = ("twitterData", "instagramData", "tiktokData", "facebookData")


@dataclass(frozen=True, slots=True)
class IndexShape:
    """:param probes: persons who are searched; the first half have several profiles, the others one."""

    profiles: int
    probes: int = 200
    dimensions: int = 512
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class ProfileWorld:
    """The index, and images of persons in it that it does not hold.

    :param features: (N, D) float32 of unit length; row n is the face of `entity_id(n)`.
    :param probes: (P, D) float32 of unit length.
    """

    features: NDArray[np.float32]
    probes: NDArray[np.float32]

    def batches(self, size: int) -> Iterator[tuple[list[ProfileFace], list[ProfileDocument]]]:
        """All profiles, as importers take them."""
        for start in range(0, len(self.features), size):
            rows = range(start, min(start + size, len(self.features)))
            faces = [ProfileFace(entity_id(row), 0, self.features[row], center=True) for row in rows]
            yield faces, [ProfileDocument(entity_id(row), "buffalo_l", metadata(entity_id(row))) for row in rows]


def entity_id(row: int) -> str:
    return f"entity-{row:07}"


def metadata(entity: str) -> dict[str, object]:
    """An entity's, the same each time: one platform, with what such a profile says of itself."""
    number = int(entity.removeprefix("entity-"))
    profile = {
        "name": f"Profile {number}",
        "id": number,
        "profileImage": photo_key(entity),
        "profileUrl": f"https://social.example/{number}",
        "biography": "What a profile says about itself, in a line or two of text. " * 4,
        "follower_count": number % 100_000,
    }
    return {_PLATFORMS[number % len(_PLATFORMS)]: profile}


def world(shape: IndexShape) -> ProfileWorld:
    """The same one for the same shape."""
    rng = np.random.default_rng(shape.seed)
    several = int(shape.profiles * _SEVERAL) // ACCOUNTS
    person_of = np.concatenate([np.repeat(np.arange(several), ACCOUNTS), np.arange(several, _persons(shape, several))])
    centres = rng.standard_normal((person_of[-1] + 1, _INTRINSIC), dtype=np.float32)
    basis = np.linalg.qr(rng.standard_normal((shape.dimensions, _INTRINSIC)))[0].T.astype(np.float32)
    features = np.empty((shape.profiles, shape.dimensions), dtype=np.float32)
    for start in range(0, shape.profiles, _BLOCK):
        persons = person_of[start : start + _BLOCK]
        features[start : start + len(persons)] = _images(centres[persons], basis, rng)
    half = shape.probes // 2
    chosen = (rng.integers(0, several, half), rng.integers(several, len(centres), shape.probes - half))
    return ProfileWorld(features, _images(centres[np.concatenate(chosen)], basis, rng))


def nearest(features: NDArray[np.float32], probes: NDArray[np.float32], top: int) -> list[list[int]]:
    """Rows of the `top` nearest faces, best first, by measuring each."""
    similarities = np.empty((len(probes), 0), dtype=np.float32)
    rows = np.empty((len(probes), 0), dtype=np.int64)
    for start in range(0, len(features), _BLOCK):
        block = probes @ features[start : start + _BLOCK].T
        similarities = np.hstack([similarities, block])
        rows = np.hstack([rows, np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)])
        best = np.argpartition(-similarities, top - 1, axis=1)[:, :top]
        similarities, rows = np.take_along_axis(similarities, best, 1), np.take_along_axis(rows, best, 1)
    found: list[list[int]] = np.take_along_axis(rows, np.argsort(-similarities, axis=1), 1).tolist()
    return found


def recall(exact: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> float:
    """The share of the exact answers' entities that were found."""
    wanted = sum(len(each) for each in exact)
    return sum(len(set(mine) & set(theirs)) for mine, theirs in zip(exact, found, strict=True)) / wanted


def _persons(shape: IndexShape, several: int) -> int:
    return several + shape.profiles - several * ACCOUNTS


def _images(centres: NDArray[np.float32], basis: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """An image of each person, (n, D) of unit length."""
    own = rng.standard_normal(centres.shape, dtype=np.float32)
    faces = _unit((np.sqrt(_SAME_PERSON) * centres + np.sqrt(1 - _SAME_PERSON) * own).astype(np.float32)) @ basis
    noise = _unit(rng.standard_normal(faces.shape, dtype=np.float32))
    return _unit((np.sqrt(1 - _NOISE) * faces + np.sqrt(_NOISE) * noise).astype(np.float32))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
