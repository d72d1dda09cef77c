"""Objects as files below a folder; several hosts share it, as they share the uploads."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from app.atomic_file import write_atomically
from app.errors import StoreUnavailable
from app.services.video.objects import check_key


class LocalObjects:
    """Implements `ObjectStore`.

    :param folder: made when the first object comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write the file in one step; a file has no type.

        :raises BadRequest: the key leads elsewhere; StoreUnavailable: the folder cannot be written.
        """
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, mode=0o640)
        except OSError as exc:
            raise _unavailable(exc) from exc

    def get(self, key: str) -> bytes | None:
        """The file's bytes; None where there is none.

        :raises BadRequest: the key leads elsewhere; StoreUnavailable: it cannot be read.
        """
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise _unavailable(exc) from exc

    def delete_prefix(self, prefix: str) -> None:
        """Remove the folder of that name, and all below it.

        :raises BadRequest: the prefix leads elsewhere; StoreUnavailable: something in it cannot be removed.
        """
        path = self._path(prefix)
        with suppress(OSError):
            shutil.rmtree(path)
        try:
            with suppress(FileNotFoundError):
                shutil.rmtree(path)  # once more: a file may have come in between
        except OSError as exc:
            raise _unavailable(exc) from exc

    def names(self, prefix: str) -> list[str]:
        """The folders in the folder of that name.

        :raises BadRequest: the prefix leads elsewhere; StoreUnavailable: it cannot be read.
        """
        try:
            return [path.name for path in self._path(prefix).iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise _unavailable(exc) from exc

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)


def _unavailable(exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"The folder of the videos' pictures cannot be used: {exc.strerror}.")
