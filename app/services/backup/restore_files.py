"""Puts the files of a backup in their places: each in one step, what lay there before kept beside it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.atomic_file import write_atomically
from app.domain import check_domain_name
from app.errors import Conflict
from app.services.backup.backup_files import JOURNAL, Places
from app.services.backup.manifest import GALLERIES, PHOTOS, TOKENS, Manifest

_MODE = 0o640  # faces are nobody else's business
_TOKENS_MODE = 0o600
# SQLite replays these into the file they lie beside, whichever that is by then.
_SQLITE_COMPANIONS = ("-wal", "-shm", "-journal")


def restore_galleries(backup: Path, manifest: Manifest, places: Places, stamp: str) -> list[str]:
    """Replace the gallery files and journals of the domains that the backup has; those domains.

    All files of a domain belong together, so those that the backup lacks are put aside too: a journal of later would
    otherwise be played onto the PKL of then.

    :param stamp: ends the names of what is put aside: `<name>.before-restore-<stamp>`.
    """
    domains = sorted({check_domain_name(entry.path.split("/")[1]) for entry in manifest.under(GALLERIES)})
    for domain in domains:
        incoming = {
            path: _destination(path, domain, places) for path in sorted((backup / GALLERIES / domain).iterdir())
        }
        staged = {_stage(path, to): to for path, to in incoming.items()}
        put_aside([*places.gallery_files(domain), *_journal_files(places, domain)], stamp)
        for waiting, to in staged.items():
            waiting.replace(to)
    return domains


def restore_tokens(backup: Path, places: Places, stamp: str) -> None:
    """Replace the tokens; those revoked since the backup are good again."""
    _make_folder(places.tokens.parent)
    content = (backup / TOKENS).read_bytes()
    put_aside([places.tokens], stamp)
    write_atomically(places.tokens, content, _TOKENS_MODE)


def restore_photos(backup: Path, manifest: Manifest, places: Places) -> int:
    """Put the photos back, over those of the same name; photos that the backup lacks stay. How many were written."""
    written = 0
    for domain in manifest.photos:
        folder = places.galleries / check_domain_name(domain)
        for name, content in _photos(backup / PHOTOS / f"{domain}.tar"):
            path = _inside(folder, name)
            _make_folder(path.parent)
            write_atomically(path, content, _MODE)
            written += 1
    return written


def put_aside(paths: Iterable[Path], stamp: str) -> None:
    """Rename what is there, so that nothing is lost and nothing reads it any more."""
    for path in paths:
        if path.exists():
            path.rename(path.with_name(f"{path.name}.before-restore-{stamp}"))


def _destination(path: Path, domain: str, places: Places) -> Path:
    configured = places.pkl_files.get(domain)
    if configured is not None and configured.name == path.name:
        return configured
    return places.galleries / domain / path.name


def _stage(path: Path, to: Path) -> Path:
    """A complete copy beside its destination."""
    waiting = to.with_name(f".{to.name}.restoring")
    _make_folder(to.parent)
    write_atomically(waiting, path.read_bytes(), _MODE)
    return waiting


def _journal_files(places: Places, domain: str) -> list[Path]:
    journal = places.journal(domain)
    return [journal, *(journal.with_name(f"{JOURNAL}{suffix}") for suffix in _SQLITE_COMPANIONS)]


def _photos(tar: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(tar) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content.read()


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Conflict("The backup holds a photo that would lie outside its gallery.", code="backup_damaged")
    return path


def _make_folder(folder: Path) -> None:
    """Made by root, it belongs to whoever owns the folder above, so that the service can use it."""
    if folder.exists():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        owner = folder.parent.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
