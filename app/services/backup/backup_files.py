"""Copies of what is in use: gallery files, journals, tokens, photos."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.domain import check_domain_name
from app.errors import BadRequest, StoreUnavailable
from app.services.backup.manifest import GALLERIES, PHOTOS, TOKENS

JOURNAL = ".journal.sqlite"
GALLERY_SUFFIXES = (".pkl", ".npz")

_TRIES = 5
_PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class Places:
    """Where the service keeps its files.

    :param galleries: one folder per domain.
    :param pkl_files: domain -> gallery file, for those that lie elsewhere.
    """

    galleries: Path
    tokens: Path
    pkl_files: Mapping[str, Path] = field(default_factory=dict)

    def domains(self) -> list[str]:
        """The domains that have a folder or a file."""
        folders = self.galleries.iterdir() if self.galleries.is_dir() else ()
        named = {path.name for path in folders if path.is_dir() and _is_domain(path.name)}
        return sorted(named | set(self.pkl_files))

    def gallery_files(self, domain: str) -> list[Path]:
        """The domain's PKL and NPZ files."""
        folder = self.galleries / domain
        found = [path for path in sorted(folder.glob("*")) if path.suffix in GALLERY_SUFFIXES and path.is_file()]
        configured = self.pkl_files.get(domain)
        return found + ([configured] if configured and configured.is_file() and configured not in found else [])

    def journal(self, domain: str) -> Path:
        """The changes that are not yet in the domain's PKL; need not exist."""
        return self.galleries / domain / JOURNAL

    def photos(self, domain: str) -> list[Path]:
        """The domain's photos: whatever is neither hidden nor a gallery file, one put aside included."""
        folder = self.galleries / domain
        return [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file()
            and not set(GALLERY_SUFFIXES).intersection(path.suffixes)
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ]

    def size(self, photos: bool) -> int:
        """Bytes that a backup of the files takes."""
        files: list[Path] = [self.tokens]
        for domain in self.domains():
            files += [*self.gallery_files(domain), self.journal(domain), *(self.photos(domain) if photos else ())]
        return sum(map(_size_of, files))


def save_tokens(places: Places, backup: Path) -> None:
    """Copy the tokens' digests, where there are any."""
    if places.tokens.exists():
        copy_whole(places.tokens, backup / TOKENS)


def save_galleries(places: Places, backup: Path) -> None:
    """Copy each domain's journal and gallery files.

    The journal first: what is folded into the PKL between the two copies is then in both, which changes nothing, and
    not in neither.
    """
    for domain in places.domains():
        folder = _private(backup / GALLERIES / domain)
        if places.journal(domain).exists():
            copy_sqlite(places.journal(domain), folder / JOURNAL)
        for file in places.gallery_files(domain):
            copy_whole(file, folder / file.name)


def save_photos(places: Places, backup: Path) -> dict[str, int]:
    """Write each domain's photos into one tar, uncompressed as photos are compressed; how many, by domain."""
    _private(backup / PHOTOS)
    return {
        domain: _write_tar(backup / PHOTOS / f"{domain}.tar", places.galleries / domain, places.photos(domain))
        for domain in places.domains()
    }


def copy_whole(source: Path, to: Path) -> None:
    """Copy a file as it was at one moment, though it may be replaced or written meanwhile.

    :raises StoreUnavailable: it does not stop changing.
    """
    for _ in range(_TRIES):
        with source.open("rb") as reader, _private_file(to).open("wb") as writer:
            before = os.fstat(reader.fileno())
            shutil.copyfileobj(reader, writer, 1024 * 1024)
            after = os.fstat(reader.fileno())
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            return
    raise StoreUnavailable(f"{source} is being written all the time; try again later.", code="file_in_use")


def copy_sqlite(source: Path, to: Path) -> None:
    """Copy an SQLite database that others write to; a plain copy could be of the middle of a change.

    It is opened for writing, because what a crashed writer left undone has to be undone before it can be read.

    :raises StoreUnavailable: it is damaged, or locked for long.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=30)) as reader,
            closing(sqlite3.connect(_private_file(to))) as writer,
        ):
            reader.backup(writer)
    except sqlite3.Error as exc:
        raise StoreUnavailable(f"The journal {source} cannot be copied: {exc}.", code="journal_unreadable") from exc


def _write_tar(tar: Path, folder: Path, photos: Iterable[Path]) -> int:
    count = 0
    with tarfile.open(_private_file(tar), "w") as archive:
        for photo in photos:
            with suppress(FileNotFoundError):  # deleted meanwhile, as its person wished
                content = photo.read_bytes()
                entry = tarfile.TarInfo(photo.relative_to(folder).as_posix())
                entry.size, entry.mtime, entry.mode = len(content), int(photo.stat().st_mtime), 0o640
                archive.addfile(entry, io.BytesIO(content))
                count += 1
    return count


def _private(folder: Path) -> Path:
    for path in (folder.parent, folder):
        path.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    return folder


def _private_file(path: Path) -> Path:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # there is none, or no more
        return 0


def _is_domain(name: str) -> bool:
    try:
        check_domain_name(name)
    except BadRequest:
        return False
    return True
