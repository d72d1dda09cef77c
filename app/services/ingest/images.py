"""The image files of a gallery folder: which there are, and what is in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import BadRequest, TooLarge
from app.images import SNIFFED_BYTES, is_image
from app.person_names import has_image_extension, person_name

LARGEST_FILE = 256 * 1024 * 1024  # bytes; no photo, and several of them are held in memory

_NOT_IMAGES = (".pkl", ".npz")  # DeepFace's own files, which lie among the images


@dataclass(frozen=True, slots=True, order=True)
class FoundImage:
    """A file as the folder lists it.

    :param path: below the gallery's folder, with `/`.
    """

    path: str
    size: int
    mtime_ns: int

    @property
    def person(self) -> str:
        return person_name(self.path)


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file: hash and bytes come from the same read."""

    sha256: str
    photo: bytes


def find_images(folder: Path) -> list[FoundImage]:
    """All image files below the folder, in the order of their paths; hidden ones and DeepFace's files are passed over.

    A file is one by its extension, or, where that says nothing, by its first bytes. Links to folders are not followed,
    as in DeepFace.

    :raises BadRequest: there is no such folder, or it cannot be listed.
    """
    try:
        return sorted(_walk(folder, ""))
    except OSError as exc:
        raise BadRequest(f"The images cannot be listed ({exc.strerror}): {exc.filename}") from exc


def read_content(folder: Path, image: FoundImage) -> Content:
    """The file's bytes and their SHA-256.

    :raises BadRequest: the file cannot be opened, or its name cannot be stored; TooLarge: it is no photo by its size.
    """
    _require_storable_name(image)
    if image.size > LARGEST_FILE:
        raise TooLarge(f"The file is larger than {LARGEST_FILE >> 20} MiB.")
    try:
        photo = (folder / image.path).read_bytes()
    except OSError as exc:
        raise BadRequest(f"The file cannot be opened: {exc.strerror}.") from exc
    return Content(hashlib.sha256(photo).hexdigest(), photo)


def is_storable_name(path: str) -> bool:
    """Whether the path is text that Postgres can hold, and names a person."""
    try:
        path.encode()
    except UnicodeEncodeError:  # what Python makes of a file name that is not UTF-8
        return False
    return person_name(path) != ""


def _require_storable_name(image: FoundImage) -> None:
    if not is_storable_name(image.path):
        raise BadRequest("The file's name is not UTF-8, or names nobody: rename it.")


def _walk(folder: Path, prefix: str) -> Iterator[FoundImage]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
            elif entry.is_file() and _is_candidate(entry):
                stat = entry.stat()
                yield FoundImage(prefix + entry.name, stat.st_size, stat.st_mtime_ns)


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    if has_image_extension(entry.name):
        return True
    if entry.name.lower().endswith(_NOT_IMAGES):
        return False
    try:
        with Path(entry.path).open("rb") as file:
            return is_image(file.read(SNIFFED_BYTES))
    except OSError:
        return False  # neither its name nor its content says that it is an image
