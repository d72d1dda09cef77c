"""What a backup says about itself, and whether it still is what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.domain import EmbeddingSpec
from app.errors import BadRequest, Conflict

FORMAT = 1
MANIFEST = "manifest.json"
CHECKSUMS = "SHA256SUMS"  # covers the manifest too; `sha256sum -c SHA256SUMS` checks a backup where there is no Python
DUMP = "database.dump"
TOKENS = "tokens.json"
GALLERIES = "galleries"
PHOTOS = "photos"

_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a backup.

    :param path: relative to the backup, with `/`.
    """

    path: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, folder: Path, file: Path) -> FileEntry:
        """The entry of a file as it is now."""
        return cls(file.relative_to(folder).as_posix(), file.stat().st_size, sha256_of(file))


@dataclass(frozen=True, slots=True)
class DomainCount:
    """What the database holds of a domain, all specs together: the figures operators know."""

    persons: int
    embeddings: int


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The database at the snapshot that the dump was made of.

    :param schema: the newest migration applied; None in a database that was never migrated.
    :param tables: rows of each table.
    :param vector_indexes: the HNSW indexes, of all domains and specs.
    :param specs: the documents of all embedding specs.
    """

    postgres: str
    pgvector: str | None
    schema: str | None
    tables: Mapping[str, int]
    vector_indexes: int
    domains: Mapping[str, DomainCount]
    specs: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of `manifest.json`.

    :param created_at: ISO 8601, UTC: the moment of the database's snapshot.
    :param database: None where there was none to save.
    :param pg_dump: the version of the program that made the dump.
    :param photos: photos saved, by domain; empty where none were asked for.
    """

    created_at: str
    app: str
    database: DatabaseFacts | None
    pg_dump: str | None
    photos: Mapping[str, int]
    files: tuple[FileEntry, ...]

    def to_json(self) -> bytes:
        """The file's contents, for people to read too."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a backup.

        :raises BadRequest: code `not_a_backup`, there is none, or not one that this version can read.
        """
        try:
            document = json.loads((folder / MANIFEST).read_bytes())
            if document["format"] != FORMAT:
                raise BadRequest(
                    f"{folder.name} has format {document['format']}, and this version reads format {FORMAT}: "
                    "restore it with the version that made it.",
                    code="not_a_backup",
                )
            return cls(
                created_at=document["created_at"],
                app=document["app"],
                database=_database_facts(document["database"]),
                pg_dump=document["pg_dump"],
                photos=document["photos"],
                files=tuple(FileEntry(**entry) for entry in document["files"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise BadRequest(
                f"{folder} is not a complete backup: its {MANIFEST} is missing or damaged.", code="not_a_backup"
            ) from exc

    @property
    def specs(self) -> tuple[EmbeddingSpec, ...]:
        """What the database's vectors were embedded with."""
        documents = self.database.specs if self.database else ()
        return tuple(EmbeddingSpec.from_document(document) for document in documents)

    def under(self, name: str) -> list[FileEntry]:
        """The files of one part (`galleries`, `photos`), or the one file of that name."""
        return [entry for entry in self.files if entry.path == name or entry.path.startswith(f"{name}/")]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and the checksums into a backup that is otherwise complete."""
    for name, content in ((MANIFEST, manifest.to_json()), (CHECKSUMS, b"")):
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
    (folder / CHECKSUMS).write_text(_checksums(folder, manifest))


def verified(folder: Path) -> Manifest:
    """The manifest of a backup of which every byte is as it was written.

    :raises BadRequest: code `not_a_backup`, there is no readable manifest.
    :raises Conflict: code `backup_damaged`; `details` lists what is wrong with which file.
    """
    manifest = Manifest.read(folder)
    faults = [fault for entry in manifest.files if (fault := _fault(folder, entry))]
    sums = folder / CHECKSUMS
    if not sums.is_file() or sums.read_bytes() != _checksums(folder, manifest).encode():
        faults.append(f"{MANIFEST} or {CHECKSUMS} was changed")
    if faults:
        raise Conflict(
            f"{folder.name} is damaged and must not be restored: {'; '.join(faults)}.",
            code="backup_damaged",
            details={"faults": faults},
        )
    return manifest


def is_whole(folder: Path) -> bool:
    """Whether a backup is complete by the names and sizes of its files; reads no contents, so it takes milliseconds."""
    try:
        return all((folder / entry.path).stat().st_size == entry.bytes for entry in Manifest.read(folder).files)
    except (BadRequest, OSError):
        return False


def sha256_of(path: Path) -> str:
    """The hex digest of a file of any size."""
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _fault(folder: Path, entry: FileEntry) -> str | None:
    path = folder / entry.path
    if ".." in Path(entry.path).parts or not path.is_relative_to(folder):
        return f"{entry.path} lies outside the backup"
    if not path.is_file():
        return f"{entry.path} is missing"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"{entry.path} has {size} bytes instead of {entry.bytes}"
    return None if sha256_of(path) == entry.sha256 else f"{entry.path} has another checksum"


def _checksums(folder: Path, manifest: Manifest) -> str:
    entries = [*manifest.files, FileEntry.of(folder, folder / MANIFEST)]
    return "".join(f"{entry.sha256}  {entry.path}\n" for entry in entries)


def _database_facts(document: dict[str, Any] | None) -> DatabaseFacts | None:
    if document is None:
        return None
    domains = {domain: DomainCount(**count) for domain, count in document["domains"].items()}
    return DatabaseFacts(**document | {"domains": domains, "specs": tuple(document["specs"])})
