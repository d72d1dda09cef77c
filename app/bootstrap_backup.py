"""What backup and restore are put together from: a part of the composition root that no web worker loads."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.adapters.pg_tools import PgTools
    from app.adapters.pkl.live import LivePklGalleries
    from app.adapters.postgres import Database
    from app.bootstrap import Container
    from app.domain import EmbeddingSpec
    from app.services.backup.backup_files import Places
    from app.services.backup.backup_service import BackupService
    from app.services.backup.restore_service import RestoreService

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def backup_service(container: Container) -> BackupService:
    """What makes backups of everything that the settings name.

    :raises StartupError: the embedded Postgres does not start.
    """
    from app.adapters.gallery_lock import GalleryLocks
    from app.services.backup.backup_service import BackupService, Source

    configured = container.settings.database_url is not None or container.uses_embedded_postgres
    database = running_database(container) if configured else None
    locks = GalleryLocks(container.settings.storage_dir / "locks")
    return BackupService(database, _pg_tools(), Source(_places(container), _version(), locks.writing))


def restore_service(container: Container) -> RestoreService:
    """What verifies and restores backups; touches no database until it restores."""
    from app.services.backup.restore_service import RestoreService

    return RestoreService(_pg_tools(), _places(container), partial(_pkl_galleries, container))


def running_database(container: Container) -> Database:
    """The database of the settings; the embedded server is started unless it runs, `container.close()` ends it.

    :raises StartupError: it does not start.
    """
    if container.settings.database_url is None and container.uses_embedded_postgres:
        container.embedded_postgres.start()
    return container.database


def _pg_tools() -> PgTools:
    """Of the PATH, else those that come with the embedded Postgres."""
    from app.adapters.embedded_postgres.programs import binaries
    from app.adapters.pg_tools import PgTools
    from app.errors import StartupError

    folders = [Path(folder) for folder in os.get_exec_path()]
    try:
        return PgTools([*folders, binaries()])
    except StartupError:  # the package is not installed
        return PgTools(folders)


def _places(container: Container) -> Places:
    from app.services.backup.backup_files import Places

    s = container.settings
    return Places(s.galleries.absolute(), s.tokens_path.absolute(), s.pkl_files)


def _pkl_galleries(container: Container, spec: EmbeddingSpec) -> LivePklGalleries:
    """The PKL galleries of a spec that need not be the engine's, so that no model is needed."""
    from app.adapters.pkl.live import LivePklGalleries
    from app.adapters.pkl.snapshots import PklSnapshots

    s = container.settings
    snapshots = PklSnapshots(s.galleries, s.storage_dir / "cache" / "pkl", spec, s.pkl_files)
    return LivePklGalleries(snapshots, s.galleries, lambda _domain: None)


def _version() -> str:
    """The newest heading of the changelog."""
    lines = CHANGELOG.read_text().splitlines() if CHANGELOG.exists() else []
    return next((line.removeprefix("## ").strip() for line in lines if line.startswith("## ")), "unknown")
