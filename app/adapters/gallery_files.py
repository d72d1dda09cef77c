"""The photo files of a domain's persons: staged under a name of no meaning, and put in place once it is certain."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import structlog

from app.atomic_file import write_atomically
from app.errors import NotFound, StoreUnavailable
from app.gallery_change import FileMove
from app.person_names import person_name

STAGED = ".changes"  # a hidden folder: nobody's name begins with a dot

_MODE = 0o640
_PHOTO_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif")
)

# What an export and a restore keep of a gallery file that they replace.
_SET_ASIDE = ("*.pkl.*.bak", "*.npz.*.bak", "*.before-restore-*", ".*.before-restore-*")

log = structlog.get_logger(__name__)


class GalleryFiles:
    """The folders of all domains.

    :param galleries: one folder per domain.
    """

    def __init__(self, galleries: Path) -> None:
        self._galleries = galleries.absolute()

    def stage(self, domain: str, change_id: str, photos: Iterable[tuple[bytes, str]]) -> tuple[FileMove, ...]:
        """Write photos where no gallery looks for them; the moves that put them in place.

        :param photos: the bytes of each file, and the path below the domain's folder that it is meant for.
        :raises StoreUnavailable: the folder cannot be written.
        """
        return tuple(
            FileMove(self._staged(domain, f"{STAGED}/{change_id}/{number}", content), target)
            for number, (content, target) in enumerate(photos)
        )

    def apply(self, domain: str, moves: Iterable[FileMove]) -> int:
        """Carry the moves out; those already done are passed over, so doing it again changes nothing.

        :return: how many files could not be moved or removed; the log says why.
        """
        return sum(not self._apply(self._galleries / domain, move) for move in moves)

    def drop_staged(self, domain: str) -> None:
        """Remove whatever was staged and never put in place."""
        shutil.rmtree(self._galleries / domain / STAGED, ignore_errors=True)

    def of_person(self, domain: str, person: str) -> list[str]:
        """The photo files that show this person by their path, whether or not a gallery holds them."""
        folder = self._galleries / domain
        entries = [entry for entry in folder.iterdir() if entry.name[0] != "."] if folder.is_dir() else []
        return sorted(path.relative_to(folder).as_posix() for entry in entries for path in _photos_of(entry, person))

    def remove_set_aside(self, domain: str) -> int:
        """Remove the galleries that a restore or an export set aside in the domain's folder; how many there were.

        Faces of a person who is deleted must not live on in them.
        """
        folder = self._galleries / domain
        copies = [path for pattern in _SET_ASIDE for path in folder.glob(pattern) if path.is_file()]
        for path in copies:
            path.unlink(missing_ok=True)
        return len(copies)

    def exists(self, domain: str, image: str) -> bool:
        """Whether a file has this path."""
        return (self._galleries / domain / image).exists()

    def read(self, domain: str, image: str) -> bytes:
        """The photo with this path.

        :raises NotFound: there is none below the domain's folder, or it cannot be read.
        """
        folder = self._galleries / domain
        try:
            if _is_below(folder / image, folder):
                return (folder / image).read_bytes()
        except OSError as exc:
            log.warning("gallery.photo_not_read", reason=exc.strerror)
        raise NotFound("The photo of this face is not in the gallery's folder.", code="photo_missing")

    def _staged(self, domain: str, image: str, content: bytes) -> str:
        path = self._galleries / domain / image
        try:
            make_folder(path.parent)
            write_atomically(path, content, _MODE)
        except OSError as exc:
            raise StoreUnavailable(
                f"A photo cannot be written to the gallery: {exc.strerror}.", code="gallery_not_written"
            ) from exc
        return image

    def _apply(self, folder: Path, move: FileMove) -> bool:
        source = folder / move.source
        target = None if move.target is None else folder / move.target
        if not _is_below(source, folder) or (target and not _is_below(target, folder)):
            return True  # an image of a gallery that was embedded elsewhere: not our file
        try:
            _move(source, target)
            _remove_empty(source.parent, folder)
        except OSError as exc:
            log.error("gallery.file_not_moved", reason=exc.strerror)
            return False
        return True


def make_folder(folder: Path) -> None:
    """Have the folder there; made by an administrator, it belongs to the owner of the folder above it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o750, exist_ok=True)
        own_as_folder(folder)


def own_as_folder(path: Path) -> None:
    """Give what root made to the owner of the folder it lies in, so that the service can change it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _photos_of(entry: Path, person: str) -> list[Path]:
    """The files of one entry of the domain's folder: a person's own folder, or a flat file named after a person."""
    if entry.is_dir():
        is_theirs = person_name(f"{entry.name}/photo") == person
        return [path for path in entry.rglob("*") if path.is_file()] if is_theirs else []
    is_theirs = entry.suffix.lower() in _PHOTO_SUFFIXES and person_name(entry.name) == person
    return [entry] if is_theirs else []


def _move(source: Path, target: Path | None) -> None:
    if not source.exists():
        return
    if target is None:
        source.unlink()
        return
    make_folder(target.parent)
    source.replace(target)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve()) and path != folder


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove folders that hold nothing any more, up to the domain's own."""
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
