"""Profiles' faces as Postgres's binary COPY format wants them; as text, most of an import's time went into numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.services.profiles import profiles_sql as sql
from app.services.profiles.writing import ProfileFace
from app.services.transfer.binary_copy import copy_stream

if TYPE_CHECKING:
    from app.adapters.postgres import CopyCursor

_PIECE = 1 << 20  # bytes handed to the driver at a time


def stage_faces(cursor: CopyCursor, faces: Sequence[ProfileFace]) -> None:
    """Put faces of one length into the table `incoming_profile_faces`, which lasts as long as the transaction."""
    cursor.execute(sql.CREATE_STAGING)
    cursor.copy_expert(sql.COPY_STAGING, io.BytesIO(binary_faces(faces)), _PIECE)


def binary_faces(faces: Sequence[ProfileFace]) -> bytes:
    """A whole COPY stream; its columns are those of `profiles_sql.COPY_STAGING`."""
    features = _half_vectors(np.stack([face.features for face in faces]))
    partitions = np.array([face.partition_id.encode() for face in faces])
    columns = {
        "position": (">i4", [face.position for face in faces]),
        "partition_id": (partitions.dtype, partitions),
        "features": (features.dtype, features),
        "center": ("u1", [face.center for face in faces]),
    }
    return copy_stream([(face.entity_id,) for face in faces], columns)


def _half_vectors(features: NDArray[np.float32]) -> NDArray[np.void]:
    """pgvector's `halfvec_recv`: the dimensions and an unused zero, then the numbers, rounded as Postgres would."""
    dimensions = features.shape[1]
    layout = [("dimensions", ">i2"), ("unused", ">i2"), ("numbers", ">f2", (dimensions,))]
    vectors = np.zeros(len(features), dtype=layout)
    vectors["dimensions"] = dimensions
    vectors["numbers"] = features
    return vectors
