"""The folder of uploads: a video is written there as it arrives, and kept under its job's id once it is accepted."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.errors import StoreUnavailable, TooLarge

MIB = 1024 * 1024

_INCOMING = ".incoming-"
_KEEP_FREE = 256 * MIB  # for what else lies on the disk: the database, logs, crops
_LOOK_EVERY = 64 * MIB  # of a video on its way in: others arrive beside it


class IncomingUpload:
    """A video on its way in.

    :param max_bytes: of the video.
    """

    def __init__(self, path: Path, file: BinaryIO, max_bytes: int) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        :raises TooLarge: code `video_too_large`: they are too many.
        :raises StoreUnavailable: code `disk_full`.
        """
        before, self.size = self.size, self.size + len(chunk)
        if self.size > self._max_bytes:
            raise video_too_large(self._max_bytes)
        if self.size // _LOOK_EVERY > before // _LOOK_EVERY:
            _require_free(self.path.parent, len(chunk))
        self._digest.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as exc:
            raise _no_space() from exc

    def complete(self) -> None:
        """Let others see all that was written.

        :raises StoreUnavailable: code `disk_full`.
        """
        try:
            self._file.flush()
        except OSError as exc:
            raise _no_space() from exc

    @property
    def sha256(self) -> str:
        """In hex, of what came so far."""
        return self._digest.hexdigest()

    def keep(self, path: Path) -> None:
        """Give it its lasting place on the same disk.

        :raises StoreUnavailable: code `disk_full`.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self.path.replace(path)
        except OSError as exc:
            raise _no_space() from exc


class UploadFolder:
    """Uploads by name.

    :param max_bytes: of a video.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def require_room(self, size: int | None) -> None:
        """Refuse an upload before its first byte where it cannot be taken whole.

        :param size: in bytes, as far as the sender tells.
        :raises TooLarge: code `video_too_large`.
        :raises StoreUnavailable: code `disk_full`.
        """
        if size is not None and size > self._max_bytes + MIB:  # the form around it is small
            raise video_too_large(self._max_bytes)
        self._folder.mkdir(parents=True, exist_ok=True)
        _require_free(self._folder, size or 0)

    @contextmanager
    def receiving(self) -> Iterator[IncomingUpload]:
        """A file to write a video to; what was not kept by the end is removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{_INCOMING}{uuid.uuid4().hex}"
        try:
            with path.open("xb") as file:
                yield IncomingUpload(path, file, self._max_bytes)
        finally:
            path.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Where the upload of this name lies."""
        return self._folder / name

    def remove(self, name: str) -> bool:
        """Remove an upload; whether there was one.

        :raises StoreUnavailable: it cannot be removed.
        """
        try:
            self.path(name).unlink()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise StoreUnavailable(f"An upload cannot be removed: {exc.strerror}.") from exc
        return True

    def older_than(self, seconds: float) -> tuple[list[str], list[str]]:
        """Names of uploads that were last written so long ago, and of those among them that never became whole."""
        if not self._folder.exists():
            return [], []
        before = time.time() - seconds
        names = [path.name for path in self._folder.iterdir() if path.is_file() and path.stat().st_mtime < before]
        return [n for n in names if not n.startswith(".")], [n for n in names if n.startswith(_INCOMING)]


def video_too_large(max_bytes: int) -> TooLarge:
    """The error for a video over the limit."""
    return TooLarge(
        f"The video is larger than {max_bytes // MIB} MB; send a smaller one, or in parts.", code="video_too_large"
    )


def _require_free(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free - size < _KEEP_FREE:
        raise _no_space()


def _no_space() -> StoreUnavailable:
    return StoreUnavailable(
        "There is no room on the disk for this video; try again later, and tell the operator.", code="disk_full"
    )
