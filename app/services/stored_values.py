"""How specs, vectors and texts stand in the database: what every writer and reader of the galleries shares."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.domain import HNSW_MAX_DIMENSIONS, EmbeddingSpec
from app.errors import StartupError
from app.services import vector_db_sql as sql

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor


def register_spec(cursor: Cursor, spec: EmbeddingSpec) -> int:
    """The spec's id in the database, which learns it where it is new.

    :raises StartupError: pgvector cannot index so many dimensions.
    """
    if spec.dimensions > HNSW_MAX_DIMENSIONS:
        raise StartupError(
            f"{spec.model} makes {spec.dimensions} numbers per face, and pgvector indexes at most "
            f"{HNSW_MAX_DIMENSIONS}: choose another FACE_MODEL, or VECTOR_DB_ENABLED=false."
        )
    document = json.dumps(spec.to_document())
    cursor.execute(sql.REGISTER_SPEC, {"key": spec.key, "document": document, "dimensions": spec.dimensions})
    cursor.execute(sql.SPEC_ID, {"key": spec.key})
    ((spec_id,),) = cursor.fetchall()
    return int(spec_id)


def vector_of(sent: memoryview) -> NDArray[np.float32]:
    """The vector in what `vector_send` gives: two 16-bit integers (the dimensions, and 0), then big-endian numbers."""
    return np.frombuffer(sent, dtype=">f4", offset=4).astype(np.float32)


def vector_text(vector: NDArray[np.float32]) -> str:
    """What pgvector reads as this (D,) vector: nine digits give back every number of 32 bits, in the least time."""
    return f"[{','.join(['%.9g'] * len(vector)) % tuple(vector.tolist())}]"


def is_storable_text(text: str) -> bool:
    """Whether Postgres can hold it: no NUL, and no half characters, which Python makes of names that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def storable(value: object) -> Any:
    """What jsonb can hold of a value that came from elsewhere.

    :return: without NULs, with `?` for half characters and null for what is no number; of another type, as text.
    """
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {storable(str(name)): storable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [storable(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else storable(str(value))
