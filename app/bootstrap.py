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
    bootstrap_milvus,
    bootstrap_parity,
    bootstrap_people,
    bootstrap_profiles,
    bootstrap_video,
    bootstrap_video_api,
)
from app.auth import TokenStore
from app.bootstrap_engine import EngineParts
from app.controllers.recognition_controller import RecognitionController
from app.domain import GalleryFace, Mode
from app.errors import AppError, DatabaseUnconfigured
from config import Settings

if TYPE_CHECKING:
    from app.adapters.embedded_postgres import EmbeddedPostgres
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


class Container(EngineParts):
    """Everything the service is made of, by settings; `close()` lets go of connections, threads and servers.

    :param settings: read from the environment where not given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.load()

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

        limit_s = self.settings.vector_db_timeout_ms / 1000
        dual = bootstrap_parity.dual_mode(self) if self.settings.mode is Mode.DUAL else None
        source = self.vector_db if self.mirror is None else self.mirror.gallery
        return PgVectorRecognitionService(source, self.pgvector_policy, limit_s, dual)

    @cached_property
    def mirror(self) -> MilvusMirror | None:
        """The index outside of the database, with GALLERY_BACKEND=milvus."""
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
        return bootstrap_parity.parity_database(self)

    parity_store = cached_property(bootstrap_parity.parity_store)
    parity_report = bootstrap_parity.parity_report

    def require_face_key(self) -> None:
        """:raises StartupError: probe faces are to be kept, and PARITY_KEY is missing or malformed."""
        bootstrap_parity.face_seal(self)

    @cached_property
    def parity_recorder(self) -> ParityRecorder:
        """What keeps the comparisons of dual mode."""
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
        made = self.__dict__  # a part that nobody asked for is not there
        for name in ("pgvector_recognition", "mirror", "profile_search"):
            if made.get(name) is not None:
                made[name].close()
        if "parity_recorder" in made:
            self.parity_recorder.close(bootstrap_parity.CLOSE_S)
        for name in ("live_pkl", "parity_database", "database"):
            if name in made:
                made[name].close()
        if "embedded_postgres" in made:
            self._stop_embedded()

    def _stop_embedded(self) -> None:
        try:
            self.embedded_postgres.stop()
        except AppError as error:
            log.error("embedded_postgres.not_stopped", reason=error.message)
