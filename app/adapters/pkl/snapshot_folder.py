"""A compiled gallery on disk: plain arrays in a folder, which any number of processes map and share.

`<cache>/<domain>/<key>/` holds one snapshot; the key names the gallery file's state and the spec, so a folder never
has to be checked for age. `<key>.refused` beside it says why the file in that state cannot be used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.adapters.pkl.reader import LeftOut
from app.domain import EmbeddingSpec
from app.errors import AppError, SpecMismatch, StoreUnavailable, UnsafePickle
from app.gallery_matrix import GalleryMatrix, TextColumn

_FORMAT = 1  # raise it when the arrays, or the rules that fill them, change: every snapshot is then made anew
_FACTS = "facts.json"
_UNFINISHED = ".unfinished"
_REFUSED = ".refused"
_REFUSALS: dict[str, type[AppError]] = {kind.__name__: kind for kind in (StoreUnavailable, SpecMismatch, UnsafePickle)}


@dataclass(frozen=True, slots=True)
class Source:
    """A gallery file in one state, and where its snapshot belongs.

    :param path: absolute path of the gallery file.
    :param folder: `<cache>/<domain>`, absolute.
    :param key: 16 hex digits over the file's path, inode, size and modification time, and the spec.
    """

    domain: str
    path: Path
    folder: Path
    key: str
    spec: EmbeddingSpec

    @classmethod
    def of(cls, domain: str, path: Path, folder: Path, spec: EmbeddingSpec) -> Self:
        """The file as it is now.

        :raises OSError: it is gone or may not be read.
        """
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
        identity = f"{_FORMAT}|{path}|{state.st_ino}|{state.st_size}|{state.st_mtime_ns}|{spec.key}"
        return cls(domain, path, folder, hashlib.sha256(identity.encode()).hexdigest()[:16], spec)

    def to_json(self) -> str:
        """For the process that compiles it; `from_json` is the inverse."""
        document = {"domain": self.domain, "path": str(self.path), "folder": str(self.folder), "key": self.key}
        return json.dumps(document | {"spec": self.spec.to_document()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        document = json.loads(text)
        spec = EmbeddingSpec.from_document(document["spec"])
        return cls(document["domain"], Path(document["path"]), Path(document["folder"]), document["key"], spec)


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """What is known of a snapshot besides its rows.

    :param source: the gallery file's name.
    :param built_at: ISO 8601, UTC.
    """

    source: str
    spec_key: str
    rows: int
    persons: int
    left_out: LeftOut
    built_at: str


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A gallery that can be searched; its arrays are mapped read-only from the cache folder."""

    key: str
    matrix: GalleryMatrix
    facts: SnapshotFacts


def save_snapshot(source: Source, matrix: GalleryMatrix, left_out: LeftOut) -> None:
    """Write the snapshot; it appears under its key in one step, complete and on disk.

    :raises OSError: the cache folder cannot be written.
    """
    unfinished = source.folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    for name, array in _arrays(matrix).items():
        with (unfinished / f"{name}.npy").open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    built_at = datetime.now(UTC).isoformat(timespec="seconds")
    facts = SnapshotFacts(source.path.name, source.spec.key, len(matrix), len(matrix.persons), left_out, built_at)
    (unfinished / _FACTS).write_text(json.dumps({"format": _FORMAT} | asdict(facts)))
    shutil.rmtree(source.folder / source.key, ignore_errors=True)  # a damaged one, or this would not be needed
    unfinished.rename(source.folder / source.key)


def load_snapshot(folder: Path) -> Snapshot | None:
    """Map a snapshot; None where there is none, or it is damaged (a power cut, a full disk) and has to be made anew."""
    try:
        facts = json.loads((folder / _FACTS).read_text())
        if facts.pop("format") != _FORMAT:
            return None
        left_out = LeftOut(**facts.pop("left_out"))
        return Snapshot(folder.name, _mapped_matrix(folder), SnapshotFacts(left_out=left_out, **facts))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def last_good_snapshot(folder: Path, spec: EmbeddingSpec) -> Snapshot | None:
    """The newest snapshot of the spec in a domain's cache folder, whatever state of the source it was made from."""
    snapshots = [load_snapshot(path) for path in folder.glob("[0-9a-f]*") if path.is_dir()]
    usable = [snapshot for snapshot in snapshots if snapshot and snapshot.facts.spec_key == spec.key]
    return max(usable, key=lambda snapshot: snapshot.facts.built_at, default=None)


def remove_other_snapshots(source: Source) -> None:
    """Remove what was made of earlier states of the file; processes that still map it keep their view of it."""
    for path in source.folder.iterdir():
        if path.is_dir() and path.name != source.key:
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == _REFUSED:
            path.unlink(missing_ok=True)


def record_refusal(source: Source, reason: AppError) -> None:
    """Keep why the file in this state cannot be used, so that no other process tries it."""
    document = {"kind": type(reason).__name__, "message": reason.message, "code": reason.error_code}
    _refusal(source).write_text(json.dumps(document | {"details": reason.details}))


def raise_recorded_refusal(source: Source) -> None:
    """Raise what `record_refusal` kept for the file in this state, if anything.

    :raises AppError: of the kind that was recorded.
    """
    try:
        refusal: dict[str, Any] = json.loads(_refusal(source).read_text())
    except (OSError, ValueError):
        return
    kind = _REFUSALS.get(refusal["kind"], StoreUnavailable)
    raise kind(refusal["message"], code=refusal["code"], details=refusal["details"])


def _refusal(source: Source) -> Path:
    return source.folder / f"{source.key}{_REFUSED}"


def _arrays(matrix: GalleryMatrix) -> dict[str, NDArray[Any]]:
    return {
        "embeddings": matrix.embeddings,
        "norms": matrix.norms,
        "boxes": matrix.boxes,
        "person_of": matrix.person_of,
        "image_offsets": matrix.images.offsets,
        "image_blob": matrix.images.blob,
        "person_offsets": matrix.persons.offsets,
        "person_blob": matrix.persons.blob,
    }


def _mapped_matrix(folder: Path) -> GalleryMatrix:
    def mapped(name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array.view(np.ndarray)  # whatever is computed from a `memmap` would be a `memmap` too

    return GalleryMatrix(
        embeddings=mapped("embeddings"),
        norms=mapped("norms"),
        boxes=mapped("boxes"),
        person_of=mapped("person_of"),
        images=TextColumn(mapped("image_offsets"), mapped("image_blob")),
        persons=TextColumn(mapped("person_offsets"), mapped("person_blob")),
    )
