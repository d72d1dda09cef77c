"""Makes a backup: the database, the gallery files, the tokens and, on request, the photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.services.backup import counts_sql as sql
from app.services.backup.backup_files import Places, save_galleries, save_photos, save_tokens
from app.services.backup.backup_folder import BackupFolder, Retention
from app.services.backup.manifest import DUMP, DatabaseFacts, DomainCount, FileEntry, Manifest, write_manifest

if TYPE_CHECKING:
    from app.adapters.pg_tools import PgTools
    from app.adapters.postgres import Cursor, Database

_DUMP_TIMEOUT_S = 24 * 3600.0  # the transaction that holds the snapshot lives as long as pg_dump runs
_SPARE = 1.3  # a vector takes a fifth more room in a compressed dump, as text, than in its table


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was made, and which older backups had to go."""

    path: Path
    manifest: Manifest
    removed: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.manifest.files)


@dataclass(frozen=True, slots=True)
class Source:
    """What is saved besides the database.

    :param version: of this service, for the manifest.
    :param writing: keeps others from changing a domain's persons as long as its block runs.
    """

    places: Places
    version: str
    writing: Callable[[str], AbstractContextManager[None]]


class BackupService:
    """Makes backups.

    :param database: None where none is configured; the files are saved all the same.
    :param source: where the service's files lie.
    """

    def __init__(self, database: Database | None, tools: PgTools, source: Source) -> None:
        self._database = database
        self._tools = tools
        self._source = source

    def make(self, folder: BackupFolder, photos: bool, retention: Retention) -> BackupReport:
        """Make one backup, whole or not at all, then remove those beyond the retention.

        :raises Conflict: code `backup_running`, another one is being made.
        :raises StoreUnavailable: no database, no room (`disk_full`), a file that cannot be read.
        :raises StartupError: there is no pg_dump that fits the server.
        """
        with folder.locked():
            folder.require_room(self._size(photos))
            with folder.new() as unfinished:
                manifest = self._fill(unfinished, photos)
                write_manifest(unfinished, manifest)
            removed = folder.rotate(retention, datetime.now(UTC))
            return BackupReport(folder.finished(unfinished), manifest, tuple(removed))

    def _size(self, photos: bool) -> int:
        size = self._source.places.size(photos)
        if self._database is not None:
            with self._database.transaction(60.0, read_only=True) as cursor:
                size += _column(cursor, sql.SIZE)[0]
        return int(size * _SPARE)

    def _fill(self, backup: Path, photos: bool) -> Manifest:
        facts, pg_dump, created_at = None, None, datetime.now(UTC)
        if self._database is None:
            with self._nobody_changes_persons():
                self._save_files(backup)
        else:
            facts, pg_dump, created_at = self._dump(self._database, backup)
        counts = save_photos(self._source.places, backup) if photos else {}
        files = tuple(FileEntry.of(backup, file) for file in sorted(backup.rglob("*")) if file.is_file())
        return Manifest(created_at.isoformat(timespec="seconds"), self._source.version, facts, pg_dump, counts, files)

    def _dump(self, database: Database, backup: Path) -> tuple[DatabaseFacts, str, datetime]:
        """Snapshot and gallery files are of one moment: persons change in both, or in neither."""
        with database.transaction(_DUMP_TIMEOUT_S, read_only=True) as cursor:
            with self._nobody_changes_persons():
                cursor.execute(sql.SNAPSHOT)
                ((snapshot, taken_at),) = cursor.fetchall()
                self._save_files(backup)
            facts = read_facts(cursor)
            version = self._tools.dump(database, snapshot, backup / DUMP)
        self._tools.contents(backup / DUMP, version)
        return facts, version, taken_at.astimezone(UTC)

    def _save_files(self, backup: Path) -> None:
        save_galleries(self._source.places, backup)
        save_tokens(self._source.places, backup)

    @contextmanager
    def _nobody_changes_persons(self) -> Iterator[None]:
        with ExitStack() as held:
            for domain in self._source.places.domains():
                held.enter_context(self._source.writing(domain))
            yield


def read_facts(cursor: Cursor) -> DatabaseFacts:
    """The database as a transaction sees it; a second per million faces, as every row is counted.

    :param cursor: of a transaction, repeatable read where the parts have to agree.
    """
    tables = count_tables(cursor)
    cursor.execute(sql.VERSIONS)
    ((postgres, pgvector),) = cursor.fetchall()
    return DatabaseFacts(
        postgres=postgres.split()[0],
        pgvector=pgvector,
        schema=next(iter(_column(cursor, sql.SCHEMA) if "alembic_version" in tables else []), None),
        tables=tables,
        vector_indexes=_column(cursor, sql.VECTOR_INDEXES)[0],
        domains=_count_domains(cursor) if "persons" in tables else {},
        specs=tuple(_column(cursor, sql.SPECS)) if "embedding_specs" in tables else (),
    )


def count_tables(cursor: Cursor) -> dict[str, int]:
    """The exact number of rows of each table."""
    tables = _column(cursor, sql.TABLES)
    return {table: _column(cursor, sql.COUNT_ROWS.format(table=table))[0] for table in tables}


def _count_domains(cursor: Cursor) -> dict[str, DomainCount]:
    cursor.execute(sql.DOMAINS)
    return {domain: DomainCount(persons, embeddings) for domain, persons, embeddings in cursor.fetchall()}


def _column(cursor: Cursor, query: str) -> list[Any]:
    cursor.execute(query)
    return [value for (value,) in cursor.fetchall()]
