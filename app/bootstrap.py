"""The one composition root: web workers, the gunicorn master, scripts and tests are all put together here.

Parts are made when they are first asked for, so that a mode pays only for what it uses; `warm()` asks for all that
a web worker needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import structlog

from app import (
    bootstrap_engine,
    bootstrap_milvus,
    bootstrap_parity,
    bootstrap_people,
    bootstrap_profiles,
    bootstrap_video,
    bootstrap_video_api,
)
from app.auth import TokenStore
from app.controllers.recognition_controller import PhotoLimits, RecognitionController
from app.domain import GalleryFace, Mode
from app.errors import AppError, DatabaseUnconfigured
from app.services.matching import MatchPolicy
from config import Settings

if TYPE_CHECKING:
    from app.adapters.deepface_engine import DeepFaceEngine
    from app.adapters.embedded_postgres import EmbeddedPostgres
    from app.adapters.face_thresholds import Threshold
    from app.adapters.pkl.live import LivePklGalleries
    from app.adapters.pkl.snapshots import PklSnapshots
    from app.adapters.postgres import Database
    from app.bootstrap_console import ConsoleParts
    from app.bootstrap_milvus import MilvusMirror
    from app.controllers.person_controller import PersonController
    from app.services.parity.recorder import ParityRecorder
    from app.services.recognition_pgvector import PgVectorRecognitionService
    from app.services.recognition_service import RecognitionService
    from app.services.turns import Turns
    from app.services.vector_db_service import VectorDbService

log = structlog.get_logger(__name__)


class Container:
    """Everything the service is made of, by settings; `close()` lets go of connections, threads and servers.

    :param settings: read from the environment where not given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.load()
        self._made: set[str] = set()

    # --- the engine

    @cached_property
    def engine(self) -> DeepFaceEngine:
        """Detection and embedding, its weights found and checked; the models themselves are loaded by `warm()`."""
        return self.engine_with(bootstrap_engine.weights_sha256(self.settings))

    def engine_with(self, weights_sha256: str) -> DeepFaceEngine:
        """The engine as it is set, with weights of this digest; nothing is looked for, and no model loaded."""
        return bootstrap_engine.engine(self.settings, weights_sha256)

    @cached_property
    def photo_limits(self) -> PhotoLimits:
        """What a photo must satisfy to be recognised."""
        return bootstrap_engine.photo_limits(self.settings)

    @cached_property
    def threshold(self) -> Threshold:
        """The largest cosine distance of a match, and who says so."""
        return bootstrap_engine.threshold(self)

    @cached_property
    def pkl_policy(self) -> MatchPolicy:
        """What counts as a match in the PKL gallery."""
        return MatchPolicy(threshold=self.threshold.distance, confidence_of=self.engine.confidence_of)

    @cached_property
    def pgvector_policy(self) -> MatchPolicy:
        """What counts as a match in pgvector: the same, unless a similarity of its own is set."""
        similarity = self.settings.vector_db_similarity_threshold
        if similarity is None:
            return self.pkl_policy
        return MatchPolicy(threshold=round(1.0 - similarity, 6), confidence_of=self.engine.confidence_of)

    # --- the PKL gallery

    @cached_property
    def pkl_snapshots(self) -> PklSnapshots:
        from app.adapters.pkl.snapshots import PklSnapshots

        s = self.settings
        return PklSnapshots(s.galleries, s.storage_dir / "cache" / "pkl", self.engine.spec, s.pkl_files)

    @cached_property
    def recognition_service(self) -> RecognitionService:
        from app.services.recognition_service import RecognitionService

        return RecognitionService(self.live_pkl.current, self.live_pkl.domains, self.pkl_policy)

    @cached_property
    def live_pkl(self) -> LivePklGalleries:
        """The PKL galleries with what changed since their files were written."""
        self._made.add("live_pkl")
        return bootstrap_people.live_pkl(self)

    def has_pkl(self, domain: str) -> bool:
        """Whether the domain has a PKL of the engine's spec."""
        return domain in self.pkl_snapshots.domains()

    def write_pkl(self, domain: str, faces: Iterable[GalleryFace]) -> None:
        """Write the domain's PKL as DeepFace names it; readers see the old one or the new one."""
        from app.adapters.pkl.naming import pkl_names
        from app.adapters.pkl.writer import write_pkl

        folder = (self.settings.galleries / domain).absolute()
        write_pkl(folder / pkl_names(self.engine.spec)[0], faces, root=folder)

    # --- the pgvector gallery

    @cached_property
    def embedded_postgres(self) -> EmbeddedPostgres:
        from app.adapters.embedded_postgres import EmbeddedPostgres

        self._made.add("embedded_postgres")
        return EmbeddedPostgres(self.settings.pgdata)

    @property
    def uses_embedded_postgres(self) -> bool:
        """Whether the service runs its own server: none is named, and the mode needs one or there is one already."""
        s = self.settings
        return s.database_url is None and (s.vector_db_enabled or s.pgdata.exists())

    @property
    def has_database(self) -> bool:
        """Whether a database is configured, whether or not it can be reached."""
        return self.settings.database_url is not None or self.uses_embedded_postgres

    def database_url(self) -> str:
        """Where the database is now.

        :raises StoreUnavailable: none is configured, or the embedded server is not running.
        """
        if self.settings.database_url is not None:
            return self.settings.database_url.get_secret_value()
        if self.uses_embedded_postgres:
            return self.embedded_postgres.url
        raise DatabaseUnconfigured

    @cached_property
    def database(self) -> Database:
        from app.adapters.postgres import Database

        self._made.add("database")
        s = self.settings
        return Database(self.database_url, s.database_pool_size, s.database_connect_timeout_s)

    @cached_property
    def vector_db(self) -> VectorDbService:
        from app.services.vector_db_service import SearchOptions, VectorDbService

        s = self.settings
        retry = s.vector_db_retry_ef_search, s.vector_db_retry_margin
        options = SearchOptions(s.vector_db_ef_search, s.vector_db_exact_max_rows, *retry)
        return VectorDbService(self.database, self.engine.spec, options)

    @cached_property
    def pgvector_recognition(self) -> PgVectorRecognitionService:
        from app.services.recognition_pgvector import PgVectorRecognitionService

        self._made.add("pgvector_recognition")
        limit_s = self.settings.vector_db_timeout_ms / 1000
        dual = bootstrap_parity.dual_mode(self) if self.settings.mode is Mode.DUAL else None
        source = self.vector_db if self.mirror is None else self.mirror.gallery
        return PgVectorRecognitionService(source, self.pgvector_policy, limit_s, dual)

    @cached_property
    def mirror(self) -> MilvusMirror | None:
        """The index outside of the database, with GALLERY_BACKEND=milvus."""
        self._made.add("mirror")
        return bootstrap_milvus.mirror(self) if self.settings.gallery_backend == "milvus" else None

    def migrate(self) -> list[str]:
        """Bring the database's schema up to date; the names of the migrations that were applied."""
        from app.adapters.migrator import migrate

        return migrate(self.database)

    def require_migrated(self) -> None:
        """:raises StartupError: the schema is not this version's."""
        from app.adapters.migrator import require_migrated

        require_migrated(self.database)

    # --- persons

    gallery_locks = cached_property(bootstrap_people.gallery_locks)
    gallery_changes = cached_property(bootstrap_people.gallery_changes)

    @cached_property
    def person_controller(self) -> PersonController:
        return bootstrap_people.person_controller(self)

    # --- videos

    videos = cached_property(bootstrap_video.VideoParts)
    video_controller = cached_property(bootstrap_video_api.video_controller)

    # --- parity

    @cached_property
    def parity_database(self) -> Database:
        self._made.add("parity_database")
        return bootstrap_parity.parity_database(self)

    parity_store = cached_property(bootstrap_parity.parity_store)
    parity_report = bootstrap_parity.parity_report

    def require_face_key(self) -> None:
        """:raises StartupError: probe faces are to be kept, and PARITY_KEY is missing or malformed."""
        bootstrap_parity.face_seal(self)

    @cached_property
    def parity_recorder(self) -> ParityRecorder:
        """What keeps the comparisons of dual mode."""
        self._made.add("parity_recorder")
        return bootstrap_parity.parity_recorder(self)

    profile_search = cached_property(bootstrap_profiles.profile_search)  # None where it is switched off

    # --- the web service

    @cached_property
    def console(self) -> ConsoleParts:
        from app.bootstrap_console import console_parts

        return console_parts(self)

    @cached_property
    def tokens(self) -> TokenStore:
        """Who may use the service."""
        return TokenStore(self.settings.tokens_path)

    @cached_property
    def turns(self) -> Turns:
        """The queue in front of the engine, one per process."""
        from app.services.turns import Turns

        return Turns(self.settings.recognize_max_waiting, self.settings.recognize_wait_limit_s)

    @cached_property
    def recognition_controller(self) -> RecognitionController:
        """The one pipeline, with the galleries that the mode asks for."""
        mode = self.settings.mode
        return RecognitionController(
            engine=self.engine,
            limits=self.photo_limits,
            mode=mode,
            pkl=None if mode is Mode.PGVECTOR else self.recognition_service,
            pgvector=self.pgvector_recognition if self.has_database else None,
        )

    def close(self) -> None:
        """Let go of threads, connections and, where this process started it, the embedded server."""
        if "pgvector_recognition" in self._made:
            self.pgvector_recognition.close()
        if "mirror" in self._made and self.mirror is not None:
            self.mirror.index.close()
        if (search := self.__dict__.get("profile_search")) is not None:
            search.close()
        if "parity_recorder" in self._made:
            self.parity_recorder.close(bootstrap_parity.CLOSE_S)
        if "live_pkl" in self._made:
            self.live_pkl.close()
        if "parity_database" in self._made:
            self.parity_database.close()
        if "database" in self._made:
            self.database.close()
        if "embedded_postgres" in self._made:
            try:
                self.embedded_postgres.stop()
            except AppError as error:
                log.error("embedded_postgres.not_stopped", reason=error.message)
