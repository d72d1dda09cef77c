"""The folder of backups: one backup at a time, each there whole or not at all, the oldest removed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.errors import Conflict, StoreUnavailable
from app.services.backup.disk_errors import disk_errors
from app.services.backup.manifest import is_whole

_PRIVATE_FOLDER = 0o700
_STAMP = "facerec-%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"facerec-\d{8}T\d{6}Z")
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True)
class Retention:
    """Which backups stay; the newest one always does.

    :param keep: so many, the newest; None for all.
    :param keep_days: none older than this; None for any age.
    """

    keep: int | None = None
    keep_days: int | None = None


class BackupFolder:
    """All backups of one service.

    :param path: made where missing, open to its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who makes a backup here; what a crashed run left behind is removed first.

        :raises Conflict: code `backup_running`, another process is making one.
        :raises StoreUnavailable: code `disk_full`, or the folder cannot be written.
        """
        with disk_errors("The backup"), self._lock():
            for leftover in self.path.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(leftover)
            yield

    @contextmanager
    def new(self) -> Iterator[Path]:
        """A folder to fill, which becomes the backup `finished` when the block ends, and is removed if it raises."""
        unfinished = self.path / f"{_UNFINISHED}{self._free_name()}"
        try:
            unfinished.mkdir(mode=_PRIVATE_FOLDER)
            yield unfinished
            _flush(unfinished)
            unfinished.rename(self.finished(unfinished))
            _flush_one(self.path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def finished(self, unfinished: Path) -> Path:
        """What a folder of `new` is called when it is complete."""
        return self.path / unfinished.name.removeprefix(_UNFINISHED)

    def complete(self) -> list[Path]:
        """The whole backups, newest first; a damaged one is neither counted nor ever removed."""
        named = (path for path in self.path.glob("facerec-*") if _NAME.fullmatch(path.name))
        return sorted(filter(is_whole, named), reverse=True)

    def rotate(self, retention: Retention, now: datetime) -> list[Path]:
        """Remove what is beyond the retention, and never the newest; what was removed."""
        oldest = None if retention.keep_days is None else (now - timedelta(days=retention.keep_days)).strftime(_STAMP)
        removed = []
        for place, backup in enumerate(self.complete()):
            too_many = retention.keep is not None and place >= retention.keep
            too_old = oldest is not None and backup.name < oldest
            if place > 0 and (too_many or too_old):
                _remove(backup)
                removed.append(backup)
        return removed

    def require_room(self, needed: int) -> None:
        """Refuse to begin what the disk cannot hold.

        :param needed: bytes.
        :raises StoreUnavailable: code `disk_full`, with what is needed and what there is.
        """
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise StoreUnavailable(
                f"The backup needs about {_mb(needed)} and {self.path} has {_mb(free)} left. "
                "Nothing was written; make room, or name another folder with --to.",
                code="disk_full",
            )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.path.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock_or_refuse(lock)
            yield
        finally:
            os.close(lock)

    def _free_name(self) -> str:
        while (self.path / (name := datetime.now(UTC).strftime(_STAMP))).exists():
            time.sleep(0.1)  # a backup of this very second exists: wait for the next
        return name


def _remove(backup: Path) -> None:
    """First out of the way, in one step: half a backup must not bear a backup's name."""
    condemned = backup.with_name(f"{_UNFINISHED}{backup.name}")
    backup.rename(condemned)
    shutil.rmtree(condemned)


def _lock_or_refuse(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise Conflict("Another backup is being made in this folder; wait for its end.", code="backup_running") from exc


def _flush(folder: Path) -> None:
    """Have everything on the disk before the folder gets its name: a power cut must not leave a hollow backup."""
    for path in [*folder.rglob("*"), folder]:
        _flush_one(path)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mb(size: int) -> str:
    return f"{size / 1_000_000:,.0f} MB"
