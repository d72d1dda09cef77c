"""The composition root's part for profile search: each of three stores by its own setting, else the embedded one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.adapters.local_photos import LocalPhotos
    from app.adapters.mongo_profiles import MongoProfiles
    from app.adapters.s3_objects import S3Photos
    from app.bootstrap import Container
    from app.services.ingest.embedding import EmbeddingPool
    from app.services.profile_search_service import ProfileSearchService, ProfileStores
    from app.services.profiles.importing import ProfileImporter, ProfileWriters
    from app.services.profiles.records import ProfileVectors
    from app.services.profiles.verification import ProfileVerifier
    from app.services.profiles.writing import VectorWriter
    from config import Settings

_KIB = 1024
_BATCH = 256  # entities that an import holds in memory, with their photos


@dataclass(frozen=True, slots=True)
class ProfileIndex:
    """The three stores, as a search reads them and as an import fills them."""

    stores: ProfileStores
    writers: ProfileWriters

    def close(self) -> None:
        """Close the stores' clients."""
        for store in (self.stores.vectors, self.stores.documents, self.stores.photos):
            store.close()


def profile_search(container: Container) -> ProfileSearchService | None:
    """Profile search, with PROFILE_SEARCH_ENABLED; nothing is connected, and no store's client loaded yet.

    :raises StartupError: the client of a store that is set is not installed.
    """
    s = container.settings
    if not s.profile_search_enabled:
        return None
    from app.services.profile_search_service import ProfileSearchOptions, ProfileSearchService

    options = ProfileSearchOptions(
        spec=container.engine.spec,
        min_similarity=s.profile_search_min_similarity,
        top_k=s.profile_search_top_k,
        timeout_s=s.profile_search_timeout_ms / 1000,
        photo_timeout_s=s.profile_search_photo_timeout_ms / 1000,
    )
    return ProfileSearchService(profile_index(container).stores, options)


def profile_index(container: Container) -> ProfileIndex:
    """The stores that are set, whether or not profile search is switched on; the caller closes them.

    :raises StartupError: the client of a store that is set is not installed.
    """
    from app.services.profile_search_service import ProfileStores
    from app.services.profiles import circuit_breaker as guard
    from app.services.profiles.importing import ProfileWriters
    from app.services.profiles.postgres_profile_writers import PostgresDocumentWriter
    from app.services.profiles.postgres_profiles import PostgresProfileDocuments

    s, photos = container.settings, _photos(container.settings)
    vectors, vector_writer = _vectors(container)
    mongo = _mongo(s)
    documents = mongo or PostgresProfileDocuments(container.database)
    stores = ProfileStores(
        vectors=guard.GuardedVectors(vectors, guard.CircuitBreaker("The profile index")),
        documents=guard.GuardedDocuments(documents, guard.CircuitBreaker("The store of the profiles' metadata")),
        photos=guard.GuardedPhotos(photos, guard.CircuitBreaker("The store of the profiles' photos", guard.PHOTOS)),
        kinds={
            "vectors": "milvus" if s.profile_search_milvus_uri else "postgres",
            "documents": "mongodb" if mongo else "postgres",
            "photos": "s3" if s.profile_search_s3_bucket else "folder",
        },
    )
    return ProfileIndex(
        stores, ProfileWriters(vector_writer, mongo or PostgresDocumentWriter(container.database), photos)
    )


def profile_importer(container: Container, index: ProfileIndex, again: bool, workers: int) -> ProfileImporter:
    """What fills the stores, embedding photos in `workers` processes; one works in this process."""
    from app.services.profiles.importing import ImportOptions, ProfileImporter

    s = container.settings
    limits = container.photo_limits.image
    options = ImportOptions(again, _BATCH * workers, s.profile_search_photo_max_kb * _KIB, limits)
    return ProfileImporter(index.writers, container.engine.spec, _pool(container, workers), options)


def profile_verifier(container: Container, index: ProfileIndex) -> ProfileVerifier:
    """What holds the stores against each other."""
    from app.services.profiles.verification import ProfileVerifier

    return ProfileVerifier(index.writers, index.stores, _pool(container, 1))


def _vectors(container: Container) -> tuple[ProfileVectors, VectorWriter]:
    s = container.settings
    if s.profile_search_milvus_uri is None:
        from app.services.profiles.postgres_profile_writers import PostgresVectorWriter
        from app.services.profiles.postgres_profiles import PostgresProfileVectors

        database, spec = container.database, container.engine.spec
        return PostgresProfileVectors(database, spec), PostgresVectorWriter(database, spec)
    from app.adapters.milvus_connection import Milvus
    from app.adapters.milvus_profile_writer import MilvusProfileWriter
    from app.adapters.milvus_profiles import PROFILES, MilvusProfiles

    token = s.profile_search_milvus_token.get_secret_value() if s.profile_search_milvus_token else ""
    milvus = Milvus(s.profile_search_milvus_uri.get_secret_value(), token, PROFILES)
    collection = s.profile_search_milvus_collection
    return MilvusProfiles(milvus, collection, s.profile_search_nprobe), MilvusProfileWriter(milvus, collection)


def _mongo(settings: Settings) -> MongoProfiles | None:
    if settings.profile_search_mongo_uri is None:
        return None
    from app.adapters.mongo_profiles import MongoProfiles

    uri = settings.profile_search_mongo_uri.get_secret_value()
    return MongoProfiles(uri, settings.profile_search_mongo_db, settings.profile_search_mongo_collection)


def _photos(settings: Settings) -> LocalPhotos | S3Photos:
    s, max_bytes = settings, settings.profile_search_photo_max_kb * _KIB
    if s.profile_search_s3_bucket is None:
        from app.adapters.local_photos import LocalPhotos

        return LocalPhotos(s.profile_photos, max_bytes)
    from app.adapters.s3_objects import S3Objects, S3Options, S3Photos

    access, secret = s.profile_search_s3_access_key, s.profile_search_s3_secret_key
    options = S3Options(
        prefix="PROFILE_SEARCH_S3",
        bucket=s.profile_search_s3_bucket,
        region=s.profile_search_s3_region,
        endpoint_url=s.profile_search_s3_endpoint_url,
        access_key=access.get_secret_value() if access else None,
        secret_key=secret.get_secret_value() if secret else None,
    )
    return S3Photos(S3Objects(options), max_bytes)


def _pool(container: Container, workers: int) -> EmbeddingPool:
    from app.bootstrap_ingest import PoolRequest, embedding_pool
    from app.services.ingest.embedding import FacePolicy, PhotoEmbedder
    from app.services.profiles.importing import InThisProcess

    if workers > 1:
        return embedding_pool(container, PoolRequest("processes", workers, FacePolicy.LARGEST))
    limits = container.photo_limits
    return InThisProcess(PhotoEmbedder(container.engine, limits.image, limits.min_face_px, FacePolicy.LARGEST))
