"""Profiles as an operator has them, in a JSONL file or a folder, read one by one: a bad one stops no other.

A line of a JSONL file is an object: `entity_id`, `metadata` (one key of PLATFORMS at least), and `image` (a path, or a
list of them, relative to the file) or `vectors` (a list of lists of numbers) or both; `center` is the place of the face
that represents the entity, 0 where it is not given. A folder holds `<entity_id>.json`, the metadata, beside
`<entity_id>.jpg`, or `<entity_id>/profile.json` beside any photos; the first of them by name is the profile's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest
from app.services.profiles.photo_keys import is_entity_id
from app.services.profiles.records import PLATFORMS

PROFILE_FILE = "profile.json"
PHOTO_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))

_MATRIX = 2  # dimensions of an array


@dataclass(frozen=True, slots=True)
class BadEntry:
    """A profile, or a photo of one, that was left out.

    :param place: where it stands: `line 7`, or a file's name.
    """

    place: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class ProfileEntry:
    """A profile to be imported.

    :param images: photos of the entity; the first is the one that is shown.
    :param vectors: (n, D) float32, in the place of what the photos would give; None to embed the photos.
    :param center: which image or vector represents the entity.
    """

    place: str
    entity_id: str
    metadata: dict[str, Any]
    images: tuple[Path, ...]
    vectors: NDArray[np.float32] | None = None
    center: int = 0


Entries = Iterator[ProfileEntry | BadEntry]


def read_entries(source: Path) -> Entries:
    """The profiles of a JSONL file or a folder, one by one.

    :raises BadRequest: it is neither, or cannot be read.
    """
    try:
        yield from _of_folder(source) if source.is_dir() else _of_lines(source)
    except OSError as exc:
        raise BadRequest(f"{source} cannot be read: {exc.strerror}.") from exc


def count_entries(source: Path) -> int:
    """How many profiles `read_entries` will give, good and bad.

    :raises BadRequest: as above.
    """
    try:
        if source.is_dir():
            return len(_descriptions(source))
        with source.open("rb") as lines:
            return sum(bool(line.strip()) for line in lines)
    except OSError as exc:
        raise BadRequest(f"{source} cannot be read: {exc.strerror}.") from exc


def _of_lines(source: Path) -> Entries:
    with source.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _entry_of_line(f"line {number}", line, source.parent)


def _entry_of_line(place: str, line: bytes, folder: Path) -> ProfileEntry | BadEntry:
    try:
        given = _json_object(line)
        images = tuple(_inside(folder, name) for name in _names(given.get("image")))
        vectors = _vectors(given.get("vectors"))
        faces = len(images) if vectors is None else len(vectors)
        return ProfileEntry(
            place,
            _entity(given.get("entity_id")),
            _metadata(given.get("metadata")),
            images,
            vectors,
            _center(given.get("center", 0), faces),
        )
    except ValueError as exc:
        return BadEntry(place, str(exc))


def _of_folder(folder: Path) -> Entries:
    for path in _descriptions(folder):
        place = path.relative_to(folder).as_posix()
        try:
            in_own_folder = path.parent != folder
            entity = _entity(path.parent.name if in_own_folder else path.stem)
            images = _photos(path.parent, None if in_own_folder else path.stem)
            if not images:
                raise ValueError("There is no photo beside it.")
            yield ProfileEntry(place, entity, _metadata(_json_object(path.read_bytes())), images)
        except ValueError as exc:
            yield BadEntry(place, str(exc))


def _descriptions(folder: Path) -> list[Path]:
    return sorted((*folder.glob("*.json"), *folder.glob(f"*/{PROFILE_FILE}")))


def _photos(folder: Path, stem: str | None) -> tuple[Path, ...]:
    photos = (path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file())
    return tuple(sorted(path for path in photos if stem is None or path.stem == stem))


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        given = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ValueError("It is not JSON.") from None
    if not isinstance(given, dict):
        raise ValueError("It is not a JSON object.")
    return given


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON.")


def _entity(value: object) -> str:
    if not isinstance(value, str) or not is_entity_id(value):
        raise ValueError("entity_id is missing, too long, or no name that a file can have.")
    return value


def _metadata(value: object) -> dict[str, Any]:
    """What Postgres can hold too, with a platform that can be shown."""
    if not isinstance(value, dict) or not any(isinstance(value.get(key), dict) for key in PLATFORMS):
        raise ValueError(f"metadata has none of {', '.join(PLATFORMS)}.")
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("metadata holds half a character.") from None
    if "\\u0000" in text:
        raise ValueError("metadata holds a NUL character.")
    return value


def _names(value: object) -> list[str]:
    names: list[Any] = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(name, str) and name and "\0" not in name for name in names):
        raise ValueError("image is not a path, nor a list of paths.")
    return names


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("image leads out of the folder.")
    return path


def _vectors(value: object) -> NDArray[np.float32] | None:
    if value is None:
        return None
    try:
        vectors = np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError, OverflowError):
        vectors = np.empty(0, dtype=np.float32)
    if vectors.ndim != _MATRIX or not vectors.size or not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise ValueError("vectors is not a list of equally long lists of numbers, each with a direction.")
    return vectors


def _center(value: object, faces: int) -> int:
    if not faces:
        raise ValueError("There is neither image nor vectors.")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < faces:
        raise ValueError("center is not the place of a face.")
    return value
