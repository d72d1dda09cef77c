"""Whether the three stores of profile search belong together, and how much of the index a search finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.services.ingest.embedding import EmbeddingPool
from app.services.profiles.importing import ProfileWriters
from app.services.profiles.photo_fetch import fetch
from app.services.profiles.photo_keys import twin_key
from app.services.profiles.platform_profiles import matches_of
from app.services.profiles.records import ProfileHit
from app.services.profiles.writing import ProfileFace

if TYPE_CHECKING:
    from app.services.profile_search_service import ProfileStores

TOP = 5  # recall is measured over so many entities

_PROBE_SIMILARITY = 0.8  # of a probe to the face it is made of: a photo that the index does not hold
_PROBES_AT_ONCE = 10
_TIMEOUT_S = 120.0
_PHOTO_THREADS = 16
_SEED = 1

Answers = list[list[ProfileHit]]
Search = Callable[[NDArray[np.float32]], Answers]


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What is looked at.

    :param sample: faces whose document and photo are looked for, and that probes are made of.
    :param photos: so many of their photos are embedded anew; 0 for none.
    :param target: the recall that is wanted.
    :param min_similarity: a photo that is less similar to its own vector was embedded by another model.
    """

    sample: int
    photos: int
    target: float
    min_similarity: float


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """What the three stores hold."""

    faces: int
    documents: int
    photos: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    :param entities: of the sample; so many of them lack a document or a photo.
    :param photo_similarity: the median cosine of photos that were embedded anew to their vectors; None: none was.
    :param served: recall at TOP of a search as it is set.
    :param recalls: the same by effort, up to the first that reaches the target.
    """

    request: VerifyRequest
    counts: StoreCounts
    entities: int
    without_document: int
    without_photo: int
    photo_similarity: float | None
    served: float
    recalls: dict[int, float]

    @property
    def same_model(self) -> bool:
        """Whether the index was made by the engine's model, as far as that was looked at."""
        return self.photo_similarity is None or self.photo_similarity >= self.request.min_similarity

    @property
    def effort(self) -> int | None:
        """The least effort that reaches the target; None where none does, or there is nothing to choose."""
        return next((effort for effort, recall in self.recalls.items() if recall >= self.request.target), None)

    @property
    def holds(self) -> bool:
        """Whether all is well; photos may be missing, as an entity can have none."""
        return not self.without_document and self.same_model and self.served >= self.request.target


class ProfileVerifier:
    """Looks at the three stores.

    :param stores: as a search uses them.
    :param pool: embeds photos, the largest face of each.
    """

    def __init__(self, writers: ProfileWriters, stores: ProfileStores, pool: EmbeddingPool) -> None:
        self._writers = writers
        self._stores = stores
        self._pool = pool

    def counts(self) -> StoreCounts:
        """What each store holds.

        :raises StoreUnavailable: one of them cannot be asked.
        """
        writers = self._writers
        return StoreCounts(writers.vectors.count(), writers.documents.count(), writers.photos.count())

    def verify(self, request: VerifyRequest) -> Verification:
        """Cross-check a sample, and measure what a search finds.

        :raises StoreUnavailable: a store cannot be asked.
        """
        faces = self._writers.vectors.sample(request.sample)
        keys = self._photo_keys(faces)
        there = self._existing(sorted({key for key in keys.values() if key is not None}))
        probes = _probes(faces)
        exact = self._answers(probes, lambda some: self._writers.vectors.exact(some, TOP))
        entities = {face.entity_id for face in faces}
        return Verification(
            request=request,
            counts=self.counts(),
            entities=len(entities),
            without_document=len(entities - set(keys)),
            without_photo=sum(keys.get(entity) not in there for entity in entities),
            photo_similarity=self._photo_similarity(faces, keys, request.photos),
            served=_recall(exact, self._answers(probes, self._served)),
            recalls=self._recalls(probes, exact, request.target),
        )

    def _photo_keys(self, faces: Sequence[ProfileFace]) -> dict[str, str | None]:
        """The photo's key of each sampled entity that has a document; None where that names no platform."""
        entities = sorted({face.entity_id for face in faces})
        keys: dict[str, str | None] = {}
        for entity, documents in self._stores.documents.metadata_of(entities, _TIMEOUT_S).items():
            matches = matches_of(0, ProfileHit(entity, 1.0), documents)
            keys[entity] = matches[0].profile_image_path if matches else None
        return keys

    def _existing(self, keys: Sequence[str]) -> set[str]:
        def exists(key: str) -> bool:
            twin, photos = twin_key(key), self._writers.photos
            return photos.exists(key) or (twin is not None and photos.exists(twin))

        with ThreadPoolExecutor(_PHOTO_THREADS, "profile-photos") as pool:
            return {key for key, there in zip(keys, pool.map(exists, keys), strict=True) if there}

    def _photo_similarity(self, faces: Sequence[ProfileFace], keys: dict[str, str | None], photos: int) -> float | None:
        """How near photos are to the vectors that they are said to belong to: vectors of one length may be of two
        models."""
        by_key = {key: face for face in faces if face.center and (key := keys.get(face.entity_id)) is not None}
        wanted = list(by_key)[:photos]
        fetched = fetch(self._stores.photos, wanted, _TIMEOUT_S).photos
        similarities = []
        for key, embedded in self._pool.embed(fetched.items()) if fetched else ():
            if embedded is not None and embedded.faces:
                embedding = embedded.faces[0].embedding
                similarities.append(_cosine(embedding, by_key[key].features))
        return median(similarities) if similarities else None

    def _served(self, probes: NDArray[np.float32]) -> Answers:
        return self._stores.vectors.nearest(probes, TOP, _TIMEOUT_S)

    def _recalls(self, probes: NDArray[np.float32], exact: Answers, target: float) -> dict[int, float]:
        recalls: dict[int, float] = {}
        for effort in self._writers.vectors.efforts() if len(probes) else ():
            recalls[effort] = _recall(exact, self._answers(probes, self._with(effort)))
            if recalls[effort] >= target:
                break
        return recalls

    def _with(self, effort: int) -> Search:
        return lambda probes: self._writers.vectors.nearest_with(effort, probes, TOP)

    def _answers(self, probes: NDArray[np.float32], search: Search) -> Answers:
        starts = range(0, len(probes), _PROBES_AT_ONCE)
        return [hits for start in starts for hits in search(probes[start : start + _PROBES_AT_ONCE])]


def _probes(faces: Sequence[ProfileFace]) -> NDArray[np.float32]:
    """For each face a vector at _PROBE_SIMILARITY from it, in a direction by chance, the same each time."""
    if not faces:
        return np.empty((0, 0), dtype=np.float32)
    vectors = np.stack([face.features for face in faces]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    away = np.random.default_rng(_SEED).standard_normal(vectors.shape)
    away -= np.sum(away * vectors, axis=1, keepdims=True) * vectors
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(_PROBE_SIMILARITY * vectors + np.sqrt(1 - _PROBE_SIMILARITY**2) * away, dtype=np.float32)


def _recall(exact: Answers, found: Answers) -> float:
    """The share of the exact answers' entities that were found; 1 where there are none."""
    pairs = [
        ({h.entity_id for h in mine}, {h.entity_id for h in theirs}) for mine, theirs in zip(exact, found, strict=True)
    ]
    wanted = sum(len(mine) for mine, _ in pairs)
    return sum(len(mine & theirs) for mine, theirs in pairs) / wanted if wanted else 1.0


def _cosine(a: NDArray[np.float64], b: NDArray[np.float32]) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
