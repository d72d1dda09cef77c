"""DeepFace's gallery files: reads every generation, safely, and writes the current ones.

Rows as DeepFace keeps them (deepface/modules/recognition.py): a list of dicts with `identity`, `hash`, `embedding`
(None for an image without a face) and `target_x`, `target_y`, `target_w`, `target_h`; before March 2024 a list of
`[identity, embedding]` or `(identity, embedding, x, y, w, h)`; since 0.0.102 the same columns as arrays in an `.npz`.
"""

from __future__ import annotations

import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.adapters.pkl.naming import require_recorded_spec
from app.adapters.pkl.safe_unpickler import NumberArray, load_plain
from app.domain import EmbeddingSpec, FloatArray
from app.errors import SpecMismatch, StoreUnavailable

# Between these norms no product of two numbers of a row and a unit vector leaves the range of float32.
_FLOAT32_NORMS = (1e-12, 1e12)
_BOX_FIELDS = ("target_x", "target_y", "target_w", "target_h")
_NPZ_COLUMNS = frozenset({"identity", "embedding", "has_embedding", *_BOX_FIELDS})
_NO_BOX = (0, 0, 0, 0)
_ROWS_OF_NUMBERS = 2  # dimensions of the matrix of embeddings
_LARGEST_PIXEL = 2**31 - 1

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many rows of a gallery file cannot be searched, by reason."""

    no_embedding: int = 0
    wrong_dimensions: int = 0
    not_finite: int = 0
    zero: int = 0
    duplicate: int = 0

    @property
    def total(self) -> int:
        return sum(self.to_document().values())

    def to_document(self) -> dict[str, int]:
        """Reason -> rows."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class PklContents:
    """The rows of a gallery file that can be searched, in the file's order.

    :param identities: N paths, as DeepFace walked them.
    :param embeddings: (N, D) float32 where that holds every value exactly, else float64.
    :param boxes: (N, 4) int32, x, y, w, h; zeros where the file's generation records none.
    """

    identities: list[str]
    embeddings: FloatArray
    boxes: NDArray[np.int32]
    left_out: LeftOut


@dataclass(slots=True)
class _Row:
    identity: str
    embedding: object
    box: Box


def read_pkl(path: Path, spec: EmbeddingSpec) -> PklContents:
    """The searchable rows of a gallery file of any of DeepFace's generations.

    :raises SpecMismatch: the file's name records another spec, or no embedding has the spec's dimensions.
    :raises UnsafePickle: the pickle asks for more than plain data; nothing in it was run.
    :raises StoreUnavailable: code `pkl_corrupt`, truncated or not a gallery; `pkl_unreadable`, it cannot be opened.
    """
    require_recorded_spec(path, spec)
    try:
        with path.open("rb") as file:
            rows = _npz_rows(file) if path.suffix == ".npz" else _pickle_rows(file)
            return _lint(rows, spec.dimensions, path.name)
    except OSError as exc:
        raise StoreUnavailable(f"{path.name} cannot be read: {exc.strerror}.", code="pkl_unreadable") from exc


def _pickle_rows(file: BinaryIO) -> list[_Row]:
    rows = load_plain(file)
    if not isinstance(rows, list):
        raise _corrupt("it holds no list of rows")
    for place, row in enumerate(rows):
        rows[place] = _row(row)  # in place: the raw rows of a large gallery take hundreds of megabytes
    return rows


def _row(row: object) -> _Row:
    match row:
        case {"identity": str(identity), "embedding": embedding, **others}:
            return _Row(identity, embedding, _box([others.get(field) for field in _BOX_FIELDS]))
        case [str(identity), embedding]:
            return _Row(identity, embedding, _NO_BOX)
        case [str(identity), embedding, x, y, w, h]:
            return _Row(identity, embedding, _box([x, y, w, h]))
        case _:
            raise _corrupt("a row is not one of DeepFace's")


def _box(numbers: Sequence[object]) -> Box:
    pixels = [int(n) for n in numbers if isinstance(n, int | float) and abs(n) <= _LARGEST_PIXEL]
    if len(pixels) != len(_BOX_FIELDS):
        raise _corrupt("a row's face box is not four numbers")
    return pixels[0], pixels[1], pixels[2], pixels[3]


def _npz_rows(file: BinaryIO) -> list[_Row]:
    try:
        with np.load(file, allow_pickle=False) as columns:
            missing = _NPZ_COLUMNS - set(columns.files)
            if missing:
                raise _corrupt(f"the columns {', '.join(sorted(missing))} are missing")
            return _rows_of_columns({name: columns[name] for name in _NPZ_COLUMNS})
    except (ValueError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as exc:
        raise _corrupt("it is truncated or no archive of arrays") from exc


def _rows_of_columns(columns: dict[str, NDArray[Any]]) -> list[_Row]:
    embeddings = columns["embedding"]
    if (
        columns["identity"].dtype.kind != "U"
        or embeddings.dtype.kind not in "fiu"
        or embeddings.ndim != _ROWS_OF_NUMBERS
    ):
        raise _corrupt("a column is of another type")
    boxes = np.stack([columns[field] for field in _BOX_FIELDS], axis=1).tolist()
    rows = zip(columns["identity"].tolist(), embeddings, columns["has_embedding"].tolist(), boxes, strict=True)
    return [_Row(identity, vector if embedded else None, _box(box)) for identity, vector, embedded, box in rows]


def _lint(rows: list[_Row], dimensions: int, name: str) -> PklContents:
    """Keeps what can be searched and counts the rest by reason."""
    reasons: Counter[str] = Counter()
    matrix = np.empty((len(rows), dimensions), dtype=np.float64)
    kept: list[_Row] = []
    seen: set[tuple[str, Box, bytes]] = set()
    for row in rows:
        vector = _vector(row.embedding)
        row.embedding = None  # frees the Python numbers, four times the size of the matrix
        reason = _fault(vector, dimensions) or _repeated(row, vector, seen)
        if reason:
            reasons[reason] += 1
        else:
            matrix[len(kept)] = vector
            kept.append(row)
    _require_some_of_dimensions(len(rows), reasons, dimensions, name)
    boxes = np.array([row.box for row in kept], dtype=np.int32).reshape(-1, len(_BOX_FIELDS))
    return PklContents([row.identity for row in kept], _narrowed(matrix[: len(kept)]), boxes, LeftOut(**reasons))


def _vector(embedding: object) -> NDArray[np.float64]:
    """The embedding as float64, empty where there is none."""
    match embedding:
        case None:
            return np.empty(0)
        case NumberArray(values=numbers) | (np.ndarray() as numbers):
            return numbers.astype(np.float64)
        case list() | tuple():
            # `array` takes a flat sequence of numbers only; NumPy would follow nested lists however deep they are.
            return np.frombuffer(_flat(embedding), dtype=np.float64)
        case _:
            raise _corrupt("an embedding is not a list of numbers")


def _flat(numbers: Sequence[Any]) -> array[float]:
    try:
        return array("d", numbers)
    except (TypeError, OverflowError) as exc:
        raise _corrupt("an embedding is not a list of numbers") from exc


def _fault(vector: NDArray[np.float64], dimensions: int) -> str | None:
    """Why the vector cannot be searched: a field of `LeftOut`."""
    if not vector.size:
        return "no_embedding"
    if vector.shape != (dimensions,):
        return "wrong_dimensions"
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.linalg.norm(vector)
    if not np.isfinite(norm):
        return "not_finite"
    return None if norm else "zero"


def _repeated(row: _Row, vector: NDArray[np.float64], seen: set[tuple[str, Box, bytes]]) -> str | None:
    """Same image, same box; without a box the vectors tell the faces of one image apart."""
    key = (row.identity, row.box, vector.tobytes() if row.box == _NO_BOX else b"")
    if key in seen:
        return "duplicate"
    seen.add(key)
    return None


def _require_some_of_dimensions(rows: int, reasons: Counter[str], dimensions: int, name: str) -> None:
    embedded = rows - reasons["no_embedding"]
    if embedded and reasons["wrong_dimensions"] == embedded:
        raise SpecMismatch(
            f"No embedding in {name} has the {dimensions} dimensions of the configured model. Set FACE_MODEL to the"
            " model the gallery was embedded with, or embed the gallery anew."
        )


def _narrowed(matrix: NDArray[np.float64]) -> FloatArray:
    """float32 where nothing is lost by it: models compute in float32, so half the memory holds their galleries."""
    norms = np.linalg.norm(matrix, axis=1)
    if not ((norms > _FLOAT32_NORMS[0]) & (norms < _FLOAT32_NORMS[1])).all():
        return matrix.copy()
    narrow = matrix.astype(np.float32)
    return narrow if np.array_equal(narrow, matrix) else matrix.copy()


def _corrupt(what: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"The gallery file is damaged: {what}. Restore it from a backup or build it anew.", code="pkl_corrupt"
    )
