"""The write side of the three stores, for `scripts.profile_index`: each may be done again without harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from app.services.profiles.records import ProfileHit

_PARTITIONS = 1024  # of the contract's collection


@dataclass(frozen=True, slots=True, eq=False)
class ProfileFace:
    """A face of an entity, as the index holds it.

    :param position: among the faces of its entity, from 0.
    :param features: (D,) float32 of unit length.
    :param center: whether it is the one that represents the entity.
    """

    entity_id: str
    position: int
    features: NDArray[np.float32]
    center: bool

    @property
    def partition_id(self) -> str:
        """Which of the index's partitions it is filed in: by its entity."""
        return f"p{crc32(self.entity_id.encode()) % _PARTITIONS:04d}"


@dataclass(frozen=True, slots=True)
class ProfileDocument:
    """What is to be known of an entity.

    :param recognizer_id: what the entity's faces were embedded with.
    """

    entity_id: str
    recognizer_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parent_id: str | None = None
    group_id: str | None = None


class VectorWriter(Protocol):
    """Fills an index of faces, and says what is in it.

    Every method raises StoreUnavailable where the store fails, and StoreTimeout where it is too slow.
    """

    def create(self, dimensions: int) -> None:
        """Make the index unless it exists.

        :raises SpecMismatch: it exists, for vectors of another length.
        """
        ...

    def present(self, entity_ids: Sequence[str]) -> set[str]:
        """Those of the entities that have faces in it."""
        ...

    def replace(self, faces: Sequence[ProfileFace]) -> None:
        """Write all faces of the entities that these belong to; what these entities had before goes."""
        ...

    def finish(self) -> None:
        """Have what was written searchable by the index."""
        ...

    def count(self) -> int:
        """How many faces it holds."""
        ...

    def sample(self, size: int) -> list[ProfileFace]:
        """So many of its faces, or all, from all over the index; in an order that does not change."""
        ...

    def exact(self, probes: NDArray[np.float32], top_k: int) -> list[list[ProfileHit]]:
        """As `ProfileVectors.nearest`, by measuring every face.

        :param probes: (n, D) of unit length.
        """
        ...

    def efforts(self) -> tuple[int, ...]:
        """The efforts worth trying with `nearest_with`, the least first."""
        ...

    def nearest_with(self, effort: int, probes: NDArray[np.float32], top_k: int) -> list[list[ProfileHit]]:
        """As `ProfileVectors.nearest`, with another effort: `nprobe` in Milvus, `ef_search` in Postgres."""
        ...


class DocumentWriter(Protocol):
    """Fills the documents; raises as VectorWriter does."""

    def create(self) -> None:
        """Make what is missing: indexes."""
        ...

    def present(self, entity_ids: Sequence[str]) -> set[str]:
        """Those of the entities that have a document."""
        ...

    def upsert(self, documents: Sequence[ProfileDocument]) -> None:
        """Add documents, or replace those of the same entities."""
        ...

    def count(self) -> int:
        """How many there are."""
        ...


class PhotoWriter(Protocol):
    """Fills the photos; raises as VectorWriter does."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep a photo; the same key again replaces it."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is one."""
        ...

    def count(self) -> int:
        """How many there are."""
        ...
