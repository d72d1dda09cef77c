"""Fills the three stores of profile search: batch by batch, and so that doing it again mends whatever was broken off.

Of each batch the photos are written first, then the documents, then the vectors: an entity with vectors is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain import EmbeddingSpec
from app.errors import AppError
from app.images import ImageLimits, decode_image, encode_jpeg, image_extension
from app.services.ingest.embedding import EmbeddedPhoto, EmbeddingPool, Results
from app.services.profiles.entries import BadEntry, ProfileEntry
from app.services.profiles.photo_keys import PHOTO_TYPES, photo_key
from app.services.profiles.records import PLATFORMS
from app.services.profiles.writing import DocumentWriter, PhotoWriter, ProfileDocument, ProfileFace, VectorWriter

_PHOTO_THREADS = 16
_SHOWN_SIDE = 640  # pixels of a photo that has to be made anew
_SEEN_TWICE = "This entity came before."

Embedded = dict[tuple[str, int], EmbeddedPhoto | None]  # by the entry's place, and that of the image in it


@dataclass(frozen=True, slots=True)
class ProfileWriters:
    """The write side of the three stores."""

    vectors: VectorWriter
    documents: DocumentWriter
    photos: PhotoWriter


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How profiles are imported.

    :param again: also those that are complete, in the place of what is there.
    :param batch: entities at a time.
    :param photo_max_bytes: a larger photo is reduced, as a search would not show it.
    :param limits: of photos that are made anew.
    """

    again: bool
    batch: int
    photo_max_bytes: int
    limits: ImageLimits


@dataclass
class ImportTotals:
    """What became of the profiles.

    :param present: complete already, and left as they were.
    :param bad: left out, in part or as a whole.
    """

    imported: int = 0
    present: int = 0
    faces: int = 0
    photos: int = 0
    bad: list[BadEntry] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A profile as it is written."""

    document: ProfileDocument
    faces: tuple[ProfileFace, ...]
    photo: tuple[str, bytes] | None  # key and content


class InThisProcess:
    """Embeds photos here, one after another; implements `EmbeddingPool`."""

    def __init__(self, embed: Callable[[bytes], EmbeddedPhoto]) -> None:
        self._embed = embed

    def embed(self, photos: Iterable[tuple[str, bytes]]) -> Results:
        """Embed each photo, in their order.

        :raises StartupError: the models cannot be loaded.
        """
        for key, photo in photos:
            yield key, self._embed(photo)


class ProfileImporter:
    """Imports profiles.

    :param spec: of every vector in the index.
    :param pool: embeds photos, the largest face of each.
    """

    def __init__(
        self, writers: ProfileWriters, spec: EmbeddingSpec, pool: EmbeddingPool, options: ImportOptions
    ) -> None:
        self._writers = writers
        self._spec = spec
        self._pool = pool
        self._options = options

    def run(self, entries: Iterable[ProfileEntry | BadEntry], advance: Callable[[int], None]) -> ImportTotals:
        """Import what is not there yet, and have it searchable.

        :param advance: told how many profiles were dealt with.
        :raises SpecMismatch: the index holds vectors of another length; nothing was written.
        :raises StoreUnavailable: a store failed; the batches before are in place, and a repeat goes on from there.
        """
        self._writers.vectors.create(self._spec.dimensions)
        self._writers.documents.create()
        totals, remaining = ImportTotals(), iter(_each_once(entries))
        while batch := list(islice(remaining, self._options.batch)):
            good = [entry for entry in batch if isinstance(entry, ProfileEntry)]
            totals.bad += [entry for entry in batch if isinstance(entry, BadEntry)]
            self._import(good, totals)
            advance(len(batch))
        self._writers.vectors.finish()
        return totals

    def _import(self, entries: Sequence[ProfileEntry], totals: ImportTotals) -> None:
        missing = entries if self._options.again else self._incomplete(entries)
        totals.present += len(entries) - len(missing)
        contents = {entry.place: self._contents(entry, totals) for entry in missing}
        embedded = self._embed(missing, contents)
        prepared = [
            profile
            for entry in missing
            if (profile := self._prepare(entry, contents[entry.place], embedded, totals)) is not None
        ]
        self._write(prepared)
        totals.imported += len(prepared)
        totals.faces += sum(len(profile.faces) for profile in prepared)
        totals.photos += sum(profile.photo is not None for profile in prepared)

    def _incomplete(self, entries: Sequence[ProfileEntry]) -> list[ProfileEntry]:
        names = [entry.entity_id for entry in entries]
        complete = self._writers.vectors.present(names) & self._writers.documents.present(names) if names else set()
        return [entry for entry in entries if entry.entity_id not in complete]

    def _contents(self, entry: ProfileEntry, totals: ImportTotals) -> list[bytes | None]:
        return [_read(path, entry.place, totals) for path in entry.images]

    def _embed(self, entries: Sequence[ProfileEntry], contents: dict[str, list[bytes | None]]) -> Embedded:
        """What the photos of entries without vectors give."""
        wanted = [
            ((entry.place, number), content)
            for entry in entries
            if entry.vectors is None
            for number, content in enumerate(contents[entry.place])
            if content is not None
        ]
        photos = ((str(place), content) for place, (_, content) in enumerate(wanted))
        return {wanted[int(place)][0]: result for place, result in self._pool.embed(photos)} if wanted else {}

    def _prepare(
        self, entry: ProfileEntry, contents: list[bytes | None], embedded: Embedded, totals: ImportTotals
    ) -> _Prepared | None:
        """The profile as it is written; None, and a reason in `totals.bad`, where nothing can be searched."""
        vectors = self._given(entry, totals) if entry.vectors is not None else _found(entry, embedded, totals)
        if not vectors:
            return None
        photo = self._photo(entry, contents[0], totals) if contents and contents[0] is not None else None
        center = entry.center if entry.center in vectors else min(vectors)
        faces = tuple(
            ProfileFace(entry.entity_id, position, _unit(vector), place == center)
            for position, (place, vector) in enumerate(sorted(vectors.items()))
        )
        metadata = _with_photo(entry.metadata, photo[0]) if photo else entry.metadata
        return _Prepared(ProfileDocument(entry.entity_id, self._spec.model, metadata), faces, photo)

    def _given(self, entry: ProfileEntry, totals: ImportTotals) -> dict[int, NDArray[np.float32]]:
        vectors = entry.vectors if entry.vectors is not None else np.empty((0, 0), dtype=np.float32)
        if vectors.shape[1] != self._spec.dimensions:
            reason = f"vectors have {vectors.shape[1]} numbers, and {self._spec.model} makes {self._spec.dimensions}."
            totals.bad.append(BadEntry(entry.place, reason))
            return {}
        return dict(enumerate(vectors))

    def _photo(self, entry: ProfileEntry, content: bytes, totals: ImportTotals) -> tuple[str, bytes] | None:
        """Key and content; what is neither JPEG nor WebP, or too large to be shown, is made anew."""
        suffix = image_extension(content)
        if suffix in PHOTO_TYPES and len(content) <= self._options.photo_max_bytes:
            return photo_key(entry.entity_id, suffix), content
        try:
            return photo_key(entry.entity_id), encode_jpeg(decode_image(content, self._options.limits), _SHOWN_SIDE)
        except AppError as error:
            totals.bad.append(BadEntry(entry.place, error.message))
            return None

    def _write(self, profiles: Sequence[_Prepared]) -> None:
        photos = [profile.photo for profile in profiles if profile.photo is not None]
        with ThreadPoolExecutor(_PHOTO_THREADS, "profile-photos") as pool:
            for _ in pool.map(self._put, photos):
                pass
        if profiles:
            self._writers.documents.upsert([profile.document for profile in profiles])
            self._writers.vectors.replace([face for profile in profiles for face in profile.faces])

    def _put(self, photo: tuple[str, bytes]) -> None:
        key, content = photo
        self._writers.photos.put(key, content, PHOTO_TYPES[key[key.rfind(".") :]])


def _each_once(entries: Iterable[ProfileEntry | BadEntry]) -> Iterator[ProfileEntry | BadEntry]:
    seen: set[str] = set()
    for entry in entries:
        if isinstance(entry, ProfileEntry):
            if entry.entity_id in seen:
                yield BadEntry(entry.place, _SEEN_TWICE)
                continue
            seen.add(entry.entity_id)
        yield entry


def _read(path: Path, place: str, totals: ImportTotals) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as exc:
        totals.bad.append(BadEntry(place, f"{path.name} cannot be read: {exc.strerror}."))
        return None


def _found(entry: ProfileEntry, embedded: Embedded, totals: ImportTotals) -> dict[int, NDArray[np.float32]]:
    """The face of each photo that shows one; the others are reasons in `totals.bad`."""
    found = {}
    for number, path in enumerate(entry.images):
        if (entry.place, number) not in embedded:
            continue  # it could not be read, and that was said
        result = embedded[entry.place, number]
        if result is not None and result.faces:
            found[number] = result.faces[0].embedding.astype(np.float32)
        else:
            reason = result.reason if result is not None else "Workers ended twice over it."
            totals.bad.append(BadEntry(entry.place, f"{path.name}: {reason}"))
    return found


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    longer = vector.astype(np.float64)
    return np.asarray(longer / np.linalg.norm(longer), dtype=np.float32)


def _with_photo(metadata: dict[str, object], key: str) -> dict[str, object]:
    """The metadata with the photo's key in each platform."""
    return {
        name: {**value, "profileImage": key} if name in PLATFORMS and isinstance(value, dict) else value
        for name, value in metadata.items()
    }
