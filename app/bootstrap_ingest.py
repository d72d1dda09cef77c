"""The composition root's part for the bulk embedding: its workers, and its writer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import SecretStr

from app.bootstrap import Container
from app.errors import SpecMismatch
from app.logs import configure_logging

if TYPE_CHECKING:
    from app.services.ingest.bulk_runs import BulkRuns
    from app.services.ingest.embedding import EmbeddingPool, FacePolicy, PhotoEmbedder
    from app.services.ingest.writer import IngestWriter
    from config import Settings


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """Where photos are embedded.

    :param address: of a Ray cluster; None for a local Ray.
    """

    engine: Literal["processes", "ray"]
    workers: int
    policy: FacePolicy
    address: str | None = None


def embedding_pool(container: Container, request: PoolRequest) -> EmbeddingPool:
    """Workers that embed as `container.engine` does; they are started by the first photo."""
    settings = container.settings
    # The workers need no secret, and may work in another folder.
    secrets = {name: None for name, value in settings if isinstance(value, SecretStr)}
    public = settings.model_copy(update=secrets | {"deepface_home": settings.weights_home.absolute()})
    build = partial(photo_embedder, public, request.policy, container.engine.spec.key)
    if request.engine == "ray":
        from app.adapters.embedding.ray_pool import RayPool

        return RayPool(build, request.workers, request.address)
    from app.adapters.embedding.process_pool import ProcessPool

    return ProcessPool(build, request.workers)


def bulk_runs(container: Container) -> BulkRuns:
    """Where bulk loads and imports note how far they are."""
    from app.services.ingest.bulk_runs import BulkRuns

    return BulkRuns(container.database)


def photo_embedder(settings: Settings, policy: FacePolicy, spec_key: str) -> PhotoEmbedder:
    """What a worker embeds with, its models loaded.

    :raises SpecMismatch: the worker's weights are not those of the parent.
    :raises StartupError: a model cannot be loaded.
    """
    from app.services.ingest.embedding import PhotoEmbedder

    configure_logging(settings.log_level, settings.log_format)
    container = Container(settings)
    engine = container.engine
    if engine.spec.key != spec_key:
        raise SpecMismatch("A worker has other weights or versions than this machine: install the same on all nodes.")
    engine.warm()
    limits = container.photo_limits
    return PhotoEmbedder(engine, limits.image, limits.min_face_px, policy)


def ingest_writer(container: Container, domain: str, batch_size: int) -> IngestWriter:
    """The writer of a bulk embedding into one domain."""
    from app.services.ingest.writer import IngestWriter
    from app.services.transfer.bulk_load import BulkLoader

    spec = container.engine.spec
    return IngestWriter(container.database, spec, BulkLoader(container.database, spec), domain, batch_size)
