"""Rows as Postgres's binary COPY format wants them (PostgreSQL documentation, COPY, "Binary Format").

Text would have to be made of every number and parsed again: binary is several times faster, and exact.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain import GalleryFace

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)  # signature, flags, length of the header's extension
_TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_length = struct.Struct(">i").pack

Columns = Mapping[str, tuple[Any, Any]]  # the type of each value, and the values of all rows, or one for all of them


@dataclass(frozen=True, slots=True)
class Scope:
    """What all rows of a load have in common.

    :param person_ids: of each person's name.
    """

    domain: str
    spec_id: int
    person_ids: Mapping[str, int]


def binary_rows(scope: Scope, faces: Sequence[GalleryFace], embeddings: NDArray[np.float32]) -> bytes:
    """A whole COPY stream; its columns are those of `bulk_load_sql.COLUMNS`.

    :param embeddings: (N, D) float32, of the faces in their order.
    """
    domain, dimensions = scope.domain.encode(), embeddings.shape[1]
    boxes = np.array([(f.box.x, f.box.y, f.box.w, f.box.h) for f in faces], dtype=np.int32).reshape(-1, 4)
    columns = {
        "person_id": (">i8", [scope.person_ids[face.person] for face in faces]),
        "domain": (f"S{len(domain)}", domain),
        "spec_id": (">i4", scope.spec_id),
        **{side: (">i4", boxes[:, column]) for column, side in enumerate("xywh")},
        "embedding": (_vector_type(dimensions), _vectors(embeddings)),
    }
    return copy_stream([(face.image, face.image_sha256) for face in faces], columns)


def copy_stream(texts: Sequence[Sequence[str | None]], columns: Columns) -> bytes:
    """A whole COPY stream: in each row first the texts, which differ in length, and then the other columns.

    :param texts: of each row.
    :param columns: made by NumPy for all rows at once.
    """
    rows = _fixed_columns(columns, len(texts))
    fixed, size = memoryview(rows.tobytes()), rows.dtype.itemsize
    parts: list[bytes | memoryview] = [_HEADER]
    for place, of_row in enumerate(texts):
        fields = struct.pack(">h", len(of_row) + len(columns))
        parts += (fields, *map(_text, of_row), fixed[place * size : (place + 1) * size])
    parts.append(_TRAILER)
    return b"".join(parts)


def _text(text: str | None) -> bytes:
    if text is None:
        return _NULL
    encoded = text.encode()
    return _length(len(encoded)) + encoded


def _fixed_columns(columns: Columns, count: int) -> NDArray[np.void]:
    """Each value with its length before it."""
    types = [field for name, (kind, _) in columns.items() for field in ((f"{name}_length", ">i4"), (name, kind))]
    rows = np.empty(count, dtype=types)
    for name, (_, values) in columns.items():
        rows[f"{name}_length"] = rows.dtype[name].itemsize
        rows[name] = values
    return rows


def _vector_type(dimensions: int) -> np.dtype[np.void]:
    """pgvector's `vector_recv`: the dimensions and an unused zero, then the numbers."""
    return np.dtype([("dimensions", ">i2"), ("unused", ">i2"), ("numbers", ">f4", (dimensions,))])


def _vectors(embeddings: NDArray[np.float32]) -> NDArray[np.void]:
    vectors = np.zeros(len(embeddings), dtype=_vector_type(embeddings.shape[1]))
    vectors["dimensions"] = embeddings.shape[1]
    vectors["numbers"] = embeddings
    return vectors


def sent_vector(vector: NDArray[np.float32]) -> bytes:
    """What pgvector's `vector_send` gives for a (D,) vector."""
    return _vectors(vector[np.newaxis]).tobytes()
