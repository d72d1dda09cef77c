"""The three stores of profile search as servers of the tests, and profile search over them."""

from __future__ import annotations

import importlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.adapters.milvus_connection import Milvus
from app.adapters.milvus_profiles import PROFILES, MilvusProfiles
from app.adapters.mongo_profiles import MongoProfiles
from app.adapters.s3_objects import S3Objects, S3Options, S3Photos
from app.domain import EmbeddingSpec
from app.services.profile_search_service import ProfileSearchOptions, ProfileSearchService, ProfileStores
from app.services.profiles.circuit_breaker import (
    PHOTOS,
    BreakerOptions,
    CircuitBreaker,
    GuardedDocuments,
    GuardedPhotos,
    GuardedVectors,
)
from app.services.profiles.writing import ProfileDocument, ProfileFace
from tests.integration.s3_keepalive import ACCESS_KEY, BUCKET, SECRET_KEY

DIMENSIONS = 8
SPEC = EmbeddingSpec("ArcFace", "0" * 64, "retinaface", True, "base", 0, 0, DIMENSIONS)
MONGO_NAMES = ("media_recognizer", "GenericFeatures")
LIMIT_S = 2.0
PHOTOS_LIMIT_S = 3.0
MAX_PHOTO_BYTES = 50_000

_LEFT_BEHIND_S = 15.0


def axis(number: int, lean: float = 0.0) -> NDArray[np.float32]:
    """(DIMENSIONS,) of unit length; faces of different numbers have cosine 0, of different leans nearly 1."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[[number, (number + 1) % DIMENSIONS]] = 1, lean
    return vector / np.linalg.norm(vector)


def face(entity_id: str, number: int, lean: float = 0.0) -> ProfileFace:
    return ProfileFace(entity_id, 0, axis(number, lean), center=True)


def document(entity_id: str) -> ProfileDocument:
    key = f"profile_images/{entity_id}.jpg"
    metadata = {"twitterData": {"name": f"Name of {entity_id}", "id": f"id-{entity_id}", "profileImage": key}}
    return ProfileDocument(entity_id, "buffalo_l", metadata)


@dataclass(frozen=True)
class Addresses:
    """Where the stores are."""

    milvus: str
    mongo: str
    s3: str
    access_key: str | None = ACCESS_KEY
    collection: str = "buffalo_l"

    def vectors(self) -> MilvusProfiles:
        return MilvusProfiles(Milvus(self.milvus, "", PROFILES), self.collection, nprobe=16)

    def documents(self) -> MongoProfiles:
        return MongoProfiles(self.mongo, *MONGO_NAMES)

    def objects(self) -> S3Objects:
        secret = SECRET_KEY if self.access_key else None
        return S3Objects(S3Options("PROFILE_SEARCH_S3", BUCKET, "us-east-1", self.s3, self.access_key, secret), 5.0)

    def photos(self) -> S3Photos:
        return S3Photos(self.objects(), MAX_PHOTO_BYTES)


def profile_search(at: Addresses, pause_s: float = 0.2) -> ProfileSearchService:
    """Profile search as the composition root puts it together, with short limits."""
    options = BreakerOptions(failures=3, pause_s=pause_s)
    stores = ProfileStores(
        GuardedVectors(at.vectors(), CircuitBreaker("Milvus", options)),
        GuardedDocuments(at.documents(), CircuitBreaker("MongoDB", options)),
        GuardedPhotos(at.photos(), CircuitBreaker("S3", replace(PHOTOS, pause_s=pause_s))),
        {"vectors": "milvus", "documents": "mongodb", "photos": "s3"},
    )
    return ProfileSearchService(stores, ProfileSearchOptions(SPEC, 0.7, 5, LIMIT_S, PHOTOS_LIMIT_S))


def load_vendors() -> None:
    """As a service has them after its first search: what loading them takes is not what is tried."""
    for name in ("boto3", "pymongo", "pymilvus"):
        importlib.import_module(name)


@contextmanager
def left_behind() -> Iterator[None]:
    """What is done here waits for no silent store: their clients' own limits are 30 to 130 s, ours a few."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < _LEFT_BEHIND_S


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def refused_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
