"""Photos of profiles in a folder: the embedded default where no bucket is set."""

from __future__ import annotations

from pathlib import Path

from app.atomic_file import write_atomically
from app.errors import BadRequest, StoreUnavailable
from app.services.profiles.photo_keys import PHOTO_FOLDER, PHOTO_TYPES, is_photo_key


class LocalPhotos:
    """Implements `ProfilePhotos` and `PhotoWriter`.

    :param folder: the keys are paths below it; made when the first photo comes.
    :param max_bytes: a larger photo is not given out.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def photo(self, key: str, timeout_s: float) -> bytes | None:
        """The photo, however long it takes; None where there is none, it is too large, or the key leads elsewhere.

        :raises StoreUnavailable: the file cannot be read.
        """
        path = self._path(key)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                content = file.read(self._max_bytes + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as exc:
            raise _unusable(exc) from exc
        return content if len(content) <= self._max_bytes else None

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write the photo in one step; its type shows in the key.

        :raises BadRequest: the key is none of a photo's, or leads elsewhere.
        :raises StoreUnavailable: the folder cannot be written.
        """
        path = self._path(key)
        if path is None:
            raise BadRequest("That is no key of a profile's photo.", code="invalid_key")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, mode=0o640)
        except OSError as exc:
            raise _unusable(exc) from exc

    def exists(self, key: str) -> bool:
        """Whether there is such a photo."""
        path = self._path(key)
        return path is not None and path.is_file()

    def count(self) -> int:
        """How many photos there are."""
        photos = (self._folder / PHOTO_FOLDER).rglob("*")
        return sum(path.suffix in PHOTO_TYPES and path.is_file() for path in photos)

    def close(self) -> None:
        """Nothing is held open."""

    def _path(self, key: str) -> Path | None:
        """Where it lies; None where the key is none, or a link on the way leads out of the folder."""
        if not is_photo_key(key):
            return None
        path = (self._folder / key).resolve()
        return path if path.is_relative_to(self._folder.resolve()) else None


def _unusable(exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"The folder of the profiles' photos cannot be used: {exc.strerror}.")
