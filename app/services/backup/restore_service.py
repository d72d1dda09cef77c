"""Restores a backup and proves that what came back is what was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from app.domain import EmbeddingSpec
from app.errors import BadRequest, Conflict
from app.services.backup.backup_files import Places
from app.services.backup.backup_service import count_tables
from app.services.backup.disk_errors import disk_errors
from app.services.backup.manifest import DUMP, TOKENS, DatabaseFacts, Manifest, verified
from app.services.backup.restore_files import restore_galleries, restore_photos, restore_tokens
from app.services.backup.restore_proof import Check, Sample, draw_samples, prove_counts, prove_pkl, prove_search

if TYPE_CHECKING:
    from app.adapters.pg_tools import PgTools
    from app.adapters.pkl.live import LivePklGalleries
    from app.adapters.postgres import Database

_TIMEOUT_S = 600.0
_BOOKKEEPING = "alembic_version"  # has a row in a database that holds nothing yet


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What is restored besides the database.

    :param galleries: the PKLs and journals.
    :param force: replace what a database that is not empty holds.
    """

    galleries: bool = False
    photos: bool = False
    tokens: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored, and the proof."""

    manifest: Manifest
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


class RestoreService:
    """Verifies and restores backups.

    :param places: where the files go.
    :param pkl_galleries: opens the PKL galleries in those places, of a spec.
    """

    def __init__(
        self, tools: PgTools, places: Places, pkl_galleries: Callable[[EmbeddingSpec], LivePklGalleries]
    ) -> None:
        self._tools = tools
        self._places = places
        self._pkl_galleries = pkl_galleries

    def verify(self, backup: Path) -> RestoreReport:
        """Check every byte and that the dump can be read; needs no server.

        :raises BadRequest: it is not a backup.
        :raises Conflict: code `backup_damaged`, with each damaged file.
        :raises StoreUnavailable: the dump is whole by its checksum and cannot be read.
        """
        with disk_errors("The check of the backup"):
            manifest = verified(backup)
        size = sum(entry.bytes for entry in manifest.files)
        checks = [Check("checksums", True, f"{len(manifest.files)} files, {size / 1e6:,.1f} MB")]
        if manifest.pg_dump:
            entries = self._tools.contents(backup / DUMP, manifest.pg_dump)
            checks.append(Check("dump", True, f"{len(entries)} entries"))
        return RestoreReport(manifest, tuple(checks))

    def restore(self, backup: Path, database: Callable[[], Database], options: RestoreOptions) -> RestoreReport:
        """Restore a verified backup; the database first, and the files only when it is proven.

        :param database: opens the target; not called for a backup without a database.
        :raises BadRequest: the backup has not what `options` asks for.
        :raises Conflict: it is damaged, or the database is not empty (`database_not_empty`) and force was not given.
        :raises StoreUnavailable: the database is as it was.
        """
        verification = self.verify(backup)
        manifest, checks = verification.manifest, list(verification.checks)
        _require_parts(manifest, options)
        samples: list[Sample] = []
        if manifest.database is not None:
            target = database()
            self._restore_database(backup, manifest, target, options.force)
            samples = draw_samples(target, manifest.database, manifest.specs)
            checks += prove_counts(target, manifest.database) + prove_search(target, manifest.database, samples)
        if all(check.passed for check in checks):
            with disk_errors("The database is restored and proven; putting back the files"):
                checks += self._restore_files(backup, manifest, options, samples)
        return RestoreReport(manifest, tuple(checks))

    def _restore_database(self, backup: Path, manifest: Manifest, database: Database, force: bool) -> None:
        with database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            tables = count_tables(cursor)
        _require_empty(tables, force)
        _require_replaceable(tables, manifest.database)
        self._tools.restore(database, backup / DUMP, manifest.pg_dump or "", clean=bool(tables))

    def _restore_files(
        self, backup: Path, manifest: Manifest, options: RestoreOptions, samples: list[Sample]
    ) -> list[Check]:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        checks = []
        if options.tokens:
            restore_tokens(backup, self._places, stamp)
            checks.append(Check("tokens", True, "restored; revoke again what was revoked since"))
        if options.photos:
            written = restore_photos(backup, manifest, self._places)
            checks.append(Check("photos", written == sum(manifest.photos.values()), f"{written:,}"))
        if options.galleries:
            domains = restore_galleries(backup, manifest, self._places, stamp)
            checks.append(Check("gallery files", True, ", ".join(domains) or "none"))
            checks += [self._prove_pkl(sample) for sample in samples if sample.domain in domains]
        return checks

    def _prove_pkl(self, sample: Sample) -> Check:
        with closing(self._pkl_galleries(sample.spec)) as galleries:
            return prove_pkl(galleries, sample)


def _require_parts(manifest: Manifest, options: RestoreOptions) -> None:
    if options.photos and not manifest.photos:
        raise BadRequest("This backup was made without --photos.", code="not_in_backup")
    if options.tokens and not manifest.under(TOKENS):
        raise BadRequest("This backup holds no tokens: there were none.", code="not_in_backup")


def _require_empty(tables: Mapping[str, int], force: bool) -> None:
    held = [f"{table} {rows:,}" for table, rows in tables.items() if rows and table != _BOOKKEEPING]
    if held and not force:
        raise Conflict(
            f"The database is not empty (rows: {', '.join(held)}). Restore into an empty one, "
            "or replace what is there with --force.",
            code="database_not_empty",
        )


def _require_replaceable(tables: Mapping[str, int], facts: DatabaseFacts | None) -> None:
    """What the backup knows nothing of may refer to what it replaces, and is not ours to drop."""
    strangers = sorted(tables.keys() - facts.tables.keys()) if facts else []
    if strangers:
        raise Conflict(
            f"The database has tables that the backup does not know ({', '.join(strangers)}): it is of a newer "
            "version, or shared. Restore into a new database and set DATABASE_URL to that.",
            code="database_not_empty",
        )
