"""Where the profiles lie in the benchmark: in the embedded stores, or on servers; each server behind a proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.bootstrap_backup import running_database
from app.bootstrap_profiles import ProfileIndex, profile_index
from app.bootstrap_scripts import GalleryContainer
from app.domain import EmbeddingSpec
from app.services.profiles.photo_keys import photo_key
from bench.delay_proxy import DelayProxies
from bench.profile_servers import PHOTO, milvus_lite, stand_ins
from bench.profile_vectors import ProfileWorld, entity_id
from config import Settings

EMBEDDED, SERVERS = "embedded", "servers"

_BATCH = 5_000
_NEEDED = ("milvus_lite", "pymilvus", "pymongo", "boto3", "mongomock")
_ELSEWHERE = ("database_url", "profile_search_milvus_uri", "profile_search_mongo_uri", "profile_search_s3_bucket")
_S3 = {"bucket": "profiles", "access_key": "AKIATEST", "secret_key": "very-secret-key"}  # of the tests' server


@dataclass(frozen=True, slots=True)
class Place:
    """Three stores as the composition root puts them together.

    :param network: has a proxy `postgres`; or `vectors`, `documents` and `photos`.
    """

    name: str
    index: ProfileIndex
    spec: EmbeddingSpec
    network: DelayProxies

    def fill(self, world: ProfileWorld, photos: set[int]) -> dict[str, float]:
        """Write the profiles, and in the embedded stores the photos of these rows; seconds that it took.

        The servers' documents and photos need no writing (see `profile_servers`).
        """
        writers, began = self.index.writers, time.perf_counter()
        writers.vectors.create(self.spec.dimensions)
        for faces, documents in world.batches(_BATCH):
            if self.name == EMBEDDED:
                writers.documents.upsert(documents)
            writers.vectors.replace(faces)
        loaded = time.perf_counter()
        writers.vectors.finish()
        indexed = time.perf_counter()
        for row in photos if self.name == EMBEDDED else ():
            writers.photos.put(photo_key(entity_id(row)), PHOTO, "image/jpeg")
        return {"load_s": round(loaded - began, 1), "index_s": round(indexed - loaded, 1)}


@contextmanager
def embedded(folder: Path) -> Iterator[Place]:
    """Faces and documents in Postgres, photos in a folder."""
    with ExitStack() as opened:
        owner = opened.enter_context(closing(GalleryContainer(_settings(folder))))
        running_database(owner)
        owner.migrate()
        network = opened.enter_context(DelayProxies({"postgres": _socket(owner.embedded_postgres.url)}))
        url = f"postgresql://postgres@127.0.0.1:{network.ports['postgres']}/postgres?sslmode=disable"
        yield _place(opened, EMBEDDED, _settings(folder, database_url=url), network)


@contextmanager
def servers(folder: Path) -> Iterator[Place]:
    """Faces in Milvus Lite, documents and photos with stand-ins of MongoDB and S3."""
    with ExitStack() as opened:
        folder.mkdir()
        milvus = opened.enter_context(milvus_lite(folder / "milvus"))
        others = opened.enter_context(stand_ins())
        ports = {"vectors": milvus, "documents": others.mongo, "photos": others.s3}
        network = opened.enter_context(DelayProxies({store: ("127.0.0.1", port) for store, port in ports.items()}))
        yield _place(opened, SERVERS, _settings(folder, **_addresses(network.ports)), network)


def missing_packages() -> list[str]:
    """What `servers` needs and is not installed."""
    return [name for name in _NEEDED if find_spec(name) is None]


def _place(opened: ExitStack, name: str, settings: Settings, network: DelayProxies) -> Place:
    container = opened.enter_context(closing(GalleryContainer(settings)))
    index = opened.enter_context(closing(profile_index(container)))
    return Place(name, index, container.engine.spec, network)


def _settings(folder: Path, **given: Any) -> Settings:
    """Those of no environment: what is not given is the embedded store."""
    own = {"storage_dir": folder, "vector_db_enabled": True, "face_model": "ArcFace", "face_weights_sha256": "0" * 64}
    return Settings(**{**dict.fromkeys(_ELSEWHERE), **own, **given})


def _addresses(ports: Mapping[str, int]) -> dict[str, Any]:
    s3 = {"endpoint_url": f"http://127.0.0.1:{ports['photos']}", **_S3}
    return {
        "profile_search_milvus_uri": f"http://127.0.0.1:{ports['vectors']}",
        "profile_search_mongo_uri": f"mongodb://127.0.0.1:{ports['documents']}/?directConnection=true",
        **{f"profile_search_s3_{name}": value for name, value in s3.items()},
    }


def _socket(url: str) -> str:
    asked = parse_qs(urlsplit(url).query)
    return f"{asked['host'][0]}/.s.PGSQL.{asked['port'][0]}"
