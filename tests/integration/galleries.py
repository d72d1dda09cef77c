"""Made-up galleries with the shape of real ones, and the exact answer to hold a search against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.adapters.postgres import Database
from app.domain import EmbeddingSpec, FaceBox, FaceMatches, GalleryFace
from app.services.matching import Candidate, MatchPolicy, exact_distances, rank_persons
from app.services.search.plan import Strategy
from app.services.search.plan_store import PlanStore
from app.services.search.tuning import SearchTuner, TuningOutcome, TuningRequest

BOX = FaceBox(10, 20, 110, 120)


def spec_of(dimensions: int, model: str = "Dlib") -> EmbeddingSpec:
    return EmbeddingSpec(
        model=model,
        weights_sha256="0" * 64,
        detector="dlib",
        align=True,
        normalization="base",
        expand_percentage=0,
        image_max_side=0,
        dimensions=dimensions,
    )


def policy_of(threshold: float) -> MatchPolicy:
    return MatchPolicy(threshold, confidence_of=lambda distance, verified: round(100 * (1 - distance), 2))


def tune_to_templates(
    database: Database, spec: EmbeddingSpec, domain: str, threshold: float, probes: int = 20
) -> TuningOutcome:
    """Have a domain searched through templates, also where measuring it whole would be faster."""
    at_once = PlanStore(database, sleep=lambda _: None)
    request = TuningRequest(probes=probes, strategies=(Strategy.TEMPLATES,))
    return SearchTuner(database, spec, threshold, at_once).tune(domain, request)


@dataclass(frozen=True, eq=False)
class MadeUpGallery:
    """Faces, and probes of the persons in it as well as of strangers.

    :param probes: (F, D) float64.
    """

    faces: Sequence[GalleryFace]
    probes: NDArray[np.float64]

    def answers(self, policy: MatchPolicy) -> list[FaceMatches]:
        """What a search by measuring everything in float64 finds for each probe."""
        embeddings = np.stack([np.asarray(face.embedding, dtype=np.float32) for face in self.faces])
        return [self._answer(exact_distances(embeddings, probe), policy) for probe in self.probes]

    def _answer(self, distances: NDArray[np.float64], policy: MatchPolicy) -> FaceMatches:
        within = np.flatnonzero(distances <= policy.threshold).tolist()
        faces = [(self.faces[i], float(distances[i])) for i in within]
        return rank_persons([Candidate(face.person, face.image, distance) for face, distance in faces], policy)


def make_up(images: Sequence[int], dimensions: int = 128, seed: int = 1, probes: int = 60) -> MadeUpGallery:
    """Persons as clusters in a space of fewer directions than the vectors have, as faces are; 1 image in 500 is filed
    under another person.

    :param images: how many images each person has.
    """
    rng = np.random.default_rng(seed)
    weights = np.arange(1, 41) ** -0.3
    basis = np.linalg.qr(rng.normal(size=(dimensions, len(weights))))[0].T

    def directions(count: int) -> NDArray[np.float64]:
        vectors = rng.normal(size=(count, len(weights))) * weights @ basis
        vectors += 0.3 * rng.normal(size=(count, dimensions)) / np.sqrt(dimensions)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    centres, owners = directions(len(images)), np.repeat(np.arange(len(images)), images)
    embeddings = (np.sqrt(0.9) * centres[owners] + np.sqrt(0.1) * directions(len(owners))).astype(np.float32)
    misfiled = rng.choice(len(owners), len(owners) // 500, replace=False)
    owners[misfiled] = rng.integers(0, len(images), len(misfiled))
    faces = [
        GalleryFace(f"Person {owner:04}", f"Person {owner:04}/{i:05}.jpg", BOX, embedding)
        for i, (owner, embedding) in enumerate(zip(owners, embeddings, strict=True))
    ]
    enrolled = np.sqrt(0.9) * centres[rng.integers(0, len(images), probes)] + np.sqrt(0.1) * directions(probes)
    return MadeUpGallery(faces, np.concatenate([enrolled, directions(probes // 4)]))
