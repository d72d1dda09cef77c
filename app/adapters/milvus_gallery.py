"""Milvus as an index of faces: which face ids are nearest. Names, paths and the exact distances stay in Postgres.

One collection per embedding spec, because a collection has one number of dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.adapters.milvus_connection import Milvus, field_types
from app.face_index import IndexedFace, NearFace

_ADMIN_S = 60.0  # making, loading, flushing and dropping a collection
_PAGE = 5000
_HNSW = {"M": 16, "efConstruction": 200}  # as the index of Postgres

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CollectionOptions:
    """A collection, and how it is indexed.

    :param ef: length of HNSW's search list.
    """

    name: str
    dimensions: int
    index: Literal["HNSW", "FLAT"] = "HNSW"
    ef: int = 200


class MilvusGallery:
    """The faces of one spec in a Milvus collection."""

    def __init__(self, milvus: Milvus, options: CollectionOptions) -> None:
        self._milvus = milvus
        self._options = options

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self._options.name

    def nearest(
        self, domain: str, probes: NDArray[np.float64], persons: int, excluded: Sequence[int], timeout_s: float
    ) -> list[list[NearFace]]:
        """For each probe the nearest face of each of the nearest persons, best first.

        :param probes: (F, D), each of length 1.
        :param persons: how many; fewer may come back although there are more, where some have many images.
        :param excluded: person ids that are not wanted.
        :raises StoreUnavailable: Milvus is down, or lacks the collection; StoreTimeout: it is too slow.
        """
        excluding = f" and person_id not in {list(excluded)}" if excluded else ""
        answers = self._call(
            lambda client, left_s: client.search(
                self.collection,
                data=[probe.tolist() for probe in probes.astype(np.float32)],
                anns_field="embedding",
                limit=persons,
                filter=_in_domain(domain) + excluding,
                group_by_field="person_id",
                output_fields=["person_id"],
                search_params={"metric_type": "COSINE", "params": {"ef": max(self._options.ef, persons)}},
                timeout=left_s,
            ),
            timeout_s,
        )
        return [[_near_face(hit) for hit in hits] for hits in answers]

    def upsert(self, faces: Sequence[IndexedFace], timeout_s: float) -> None:
        """Add faces or replace those of the same ids.

        :raises StoreUnavailable: it failed, and some of them may have been taken over.
        """
        rows = [
            {
                "id": face.face_id,
                "domain": face.domain,
                "person_id": face.person_id,
                "embedding": np.asarray(face.embedding, dtype=np.float32),
            }
            for face in faces
        ]
        if rows:
            self._call(lambda client, left_s: client.upsert(self.collection, rows, timeout=left_s), timeout_s)

    def delete(self, face_ids: Sequence[int], timeout_s: float) -> None:
        """Remove faces; ids that are not there are passed over.

        :raises StoreUnavailable: it failed, and some of them may be gone.
        """
        ids = list(face_ids)
        if ids:
            self._call(lambda client, left_s: client.delete(self.collection, ids=ids, timeout=left_s), timeout_s)

    def face_ids(self, domain: str | None) -> Iterator[list[int]]:
        """The ids of a domain's faces, or of all, in pieces.

        :raises StoreUnavailable: Milvus failed.
        """
        iterator = self._call(
            lambda client, left_s: client.query_iterator(
                self.collection,
                batch_size=_PAGE,
                filter="id > 0" if domain is None else _in_domain(domain),
                output_fields=["id"],
                consistency_level="Strong",
                timeout=left_s,
            ),
            _ADMIN_S,
        )
        while page := self._call(lambda _client, _left_s: iterator.next(), _ADMIN_S):
            yield [int(row["id"]) for row in page]
        iterator.close()

    def embeddings(self, face_ids: Sequence[int], timeout_s: float) -> dict[int, NDArray[np.float32]]:
        """The vectors, (D,) each, of those faces that are there.

        :raises StoreUnavailable: Milvus failed.
        """
        ids = list(face_ids)
        rows = self._call(
            lambda client, left_s: client.query(
                self.collection,
                ids=ids,
                output_fields=["id", "embedding"],
                consistency_level="Strong",
                timeout=left_s,
            ),
            timeout_s,
        )
        return {int(row["id"]): np.asarray(row["embedding"], dtype=np.float32) for row in rows}

    def flush(self) -> None:
        """Close the open segments, so that they are indexed; Milvus allows it every ten seconds or so.

        :raises StoreUnavailable: it failed.
        """
        self._call(lambda client, left_s: client.flush(self.collection, timeout=left_s), _ADMIN_S)

    def exists(self) -> bool:
        """Whether Milvus has the collection.

        :raises StoreUnavailable: Milvus cannot be asked.
        """
        return bool(
            self._milvus.call(lambda client, left_s: client.has_collection(self.collection, timeout=left_s), _ADMIN_S)
        )

    def create(self) -> None:
        """Make the collection unless it exists.

        :raises StoreUnavailable: Milvus cannot make it.
        """
        self._milvus.call(lambda client, _left_s: self._create(client), _ADMIN_S)

    def drop(self) -> None:
        """Remove the collection with all its vectors; it need not exist.

        :raises StoreUnavailable: Milvus cannot be asked.
        """
        self._milvus.call(lambda client, left_s: client.drop_collection(self.collection, timeout=left_s), _ADMIN_S)

    def require_ready(self, timeout_s: float) -> None:
        """Ask for nothing but an answer.

        :raises StoreUnavailable: Milvus cannot be reached, or lacks the collection.
        """
        self._call(
            lambda client, left_s: client.query(self.collection, ids=[0], output_fields=["id"], timeout=left_s),
            timeout_s,
        )

    def close(self) -> None:
        """Close this process's connection."""
        self._milvus.close()

    def _create(self, client: Any) -> None:
        if client.has_collection(self.collection, timeout=_ADMIN_S):
            return
        index = client.prepare_index_params()
        params = _HNSW if self._options.index == "HNSW" else {}
        index.add_index("embedding", index_type=self._options.index, metric_type="COSINE", params=params)
        client.create_collection(
            self.collection,
            schema=_schema(client, self._options.dimensions),
            index_params=index,
            # A face that changed a moment ago is measured in Postgres, so a search need not wait for the cluster's
            # clock, as `Strong` does.
            consistency_level="Bounded",
            timeout=_ADMIN_S,
        )

    def _call(self, ask: Callable[[Any, float], T], timeout_s: float) -> T:
        return self._milvus.call(ask, timeout_s, loaded=self.collection)


def _schema(client: Any, dimensions: int) -> Any:
    types = field_types()
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("domain", types.VARCHAR, max_length=63, is_partition_key=True)
    schema.add_field("person_id", types.INT64)
    schema.add_field("embedding", types.FLOAT_VECTOR, dim=dimensions)
    return schema


def _near_face(hit: Any) -> NearFace:
    return NearFace(int(hit["id"]), int(hit["entity"]["person_id"]), 1.0 - float(hit["distance"]))


def _in_domain(domain: str) -> str:
    return f"domain == {json.dumps(domain)}"  # a domain's name needs no quoting beyond this; see check_domain_name
