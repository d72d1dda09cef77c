"""The write side of the profiles' faces in Milvus, for `scripts.profile_index`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.adapters.milvus_connection import Milvus, field_types
from app.adapters.milvus_profiles import MilvusProfiles
from app.errors import Conflict, SpecMismatch
from app.services.profiles.records import ProfileHit
from app.services.profiles.writing import ProfileFace

_NLIST = 1024
_PARTITIONS = 1024
_TIMEOUT_S = 120.0
_PAGE = 5000
_FETCH = 500  # vectors in one answer
_EFFORTS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)

T = TypeVar("T")


class MilvusProfileWriter:
    """Implements `VectorWriter` over a collection with the contract's schema."""

    def __init__(self, milvus: Milvus, collection: str) -> None:
        self._milvus = milvus
        self._collection = collection
        self._profiles = MilvusProfiles(milvus, collection, _NLIST)

    def create(self, dimensions: int) -> None:
        """Make the collection with its index unless it exists.

        :raises SpecMismatch: it exists, for vectors of another length.
        :raises StoreUnavailable: Milvus cannot make it.
        """
        self._milvus.call(lambda client, _left_s: self._create(client, dimensions), _TIMEOUT_S)
        held = self._profiles.dimensions(_TIMEOUT_S)
        if held not in (None, dimensions):
            raise SpecMismatch(
                f"PROFILE_SEARCH_MILVUS_COLLECTION holds vectors of {held} numbers, and FACE_MODEL makes {dimensions}: "
                "name another collection, or set the model that it was made with."
            )

    def present(self, entity_ids: Sequence[str]) -> set[str]:
        """Those of the entities that have faces here.

        :raises StoreUnavailable: Milvus failed.
        """
        if not entity_ids:
            return set()
        rows = self._query(filter=_one_of(entity_ids), output_fields=["_entity_id"])
        return {str(row["_entity_id"]) for row in rows}

    def replace(self, faces: Sequence[ProfileFace]) -> None:
        """Remove what the entities had, then add their faces; a run that ends in between leaves them without any.

        :raises StoreUnavailable: it failed, and the entities may be without faces.
        """
        if not faces:
            return
        chosen = _one_of(sorted({face.entity_id for face in faces}))
        rows = [_row(face) for face in faces]
        self._call(lambda client, left_s: client.delete(self._collection, filter=chosen, timeout=left_s))
        self._call(lambda client, left_s: client.insert(self._collection, rows, timeout=left_s))

    def finish(self) -> None:
        """Close the open segments, so that they are indexed.

        :raises StoreUnavailable: it failed.
        """
        self._call(lambda client, left_s: client.flush(self._collection, timeout=left_s))

    def count(self) -> int:
        """How many faces the collection holds.

        :raises StoreUnavailable: Milvus failed.
        """
        (row,) = self._query(filter="", output_fields=["count(*)"])
        return int(row["count(*)"])

    def sample(self, size: int) -> list[ProfileFace]:
        """Faces at even distances in the order of their keys, which is that of their insertion.

        :raises StoreUnavailable: Milvus failed.
        """
        keys = np.sort(np.fromiter(self._keys(), np.int64))
        chosen = keys[np.unique(np.linspace(0, len(keys) - 1, min(size, len(keys))).astype(np.int64))].tolist()
        pages = [chosen[start : start + _FETCH] for start in range(0, len(chosen), _FETCH)]
        return [face for page in pages for face in self._faces(page)]

    def exact(self, probes: NDArray[np.float32], top_k: int) -> list[list[ProfileHit]]:
        """The nearest entities, with every list of the index read.

        :raises Conflict: the index is of a kind that cannot be read whole; StoreUnavailable: Milvus failed.
        """
        return self.nearest_with(self._lists(), probes, top_k)

    def efforts(self) -> tuple[int, ...]:
        """Values of `nprobe`, up to the number of the index's lists.

        :raises Conflict, StoreUnavailable: as of `exact`.
        """
        lists = self._lists()
        return tuple(nprobe for nprobe in _EFFORTS if nprobe <= lists)

    def nearest_with(self, effort: int, probes: NDArray[np.float32], top_k: int) -> list[list[ProfileHit]]:
        """The nearest entities with this `nprobe`.

        :raises StoreUnavailable: Milvus failed.
        """
        return self._profiles.nearest_with(effort, probes, top_k, _TIMEOUT_S)

    def _keys(self) -> list[int]:
        iterator = self._call(
            lambda client, left_s: client.query_iterator(
                self._collection,
                batch_size=_PAGE,
                filter="_id >= 0",
                output_fields=["_id"],
                consistency_level="Strong",
                timeout=left_s,
            )
        )
        keys: list[int] = []
        while page := self._call(lambda _client, _left_s: iterator.next()):
            keys += [int(row["_id"]) for row in page]
        iterator.close()
        return keys

    def _faces(self, keys: Sequence[int]) -> list[ProfileFace]:
        rows = self._query(ids=list(keys), output_fields=["_id", "_entity_id", "features", "center"])
        rows.sort(key=lambda row: int(row["_id"]))
        return [
            ProfileFace(row["_entity_id"], 0, np.asarray(row["features"], np.float32), bool(row["center"]))
            for row in rows
        ]

    def _lists(self) -> int:
        index = self._call(lambda client, left_s: client.describe_index(self._collection, "features", timeout=left_s))
        if index is None or index["index_type"] not in ("IVF_FLAT", "FLAT"):
            raise Conflict("The collection's index is neither IVF_FLAT nor FLAT: its recall cannot be measured here.")
        # Said at the top by a server, below `params` by Milvus Lite 3.
        return int(index.get("nlist") or index.get("params", {}).get("nlist") or _NLIST)

    def _create(self, client: Any, dimensions: int) -> None:
        if client.has_collection(self._collection, timeout=_TIMEOUT_S):
            return
        index = client.prepare_index_params()
        # Nested, because Milvus Lite 3 passes over an `nlist` beside the type.
        index.add_index("features", index_type="IVF_FLAT", metric_type="COSINE", params={"params": {"nlist": _NLIST}})
        client.create_collection(
            self._collection,
            schema=_schema(client, dimensions),
            index_params=index,
            num_partitions=_PARTITIONS,
            consistency_level="Bounded",  # a search need not see the last second's profiles
            timeout=_TIMEOUT_S,
        )

    def _query(self, **asked: Any) -> list[dict[str, Any]]:
        return list(
            self._call(
                lambda client, left_s: client.query(
                    self._collection, consistency_level="Strong", timeout=left_s, **asked
                )
            )
        )

    def _call(self, ask: Callable[[Any, float], T]) -> T:
        return self._milvus.call(ask, _TIMEOUT_S, loaded=self._collection)


def _schema(client: Any, dimensions: int) -> Any:
    types = field_types()
    schema = client.create_schema(auto_id=True, enable_dynamic_field=False)
    schema.add_field("_id", types.INT64, is_primary=True, auto_id=True)
    schema.add_field("_entity_id", types.VARCHAR, max_length=255)
    schema.add_field("_partition_id", types.VARCHAR, max_length=255, is_partition_key=True)
    schema.add_field("features", types.FLOAT_VECTOR, dim=dimensions)
    schema.add_field("center", types.BOOL)
    return schema


def _row(face: ProfileFace) -> dict[str, Any]:
    return {
        "_entity_id": face.entity_id,
        "_partition_id": face.partition_id,
        "features": np.asarray(face.features, dtype=np.float32),
        "center": face.center,
    }


def _one_of(entity_ids: Sequence[str]) -> str:
    return f"_entity_id in {json.dumps(list(entity_ids), ensure_ascii=False)}"
