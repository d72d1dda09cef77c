"""The ways of searching in memory that ours is held against: NumPy, hnswlib and faiss, each at its best settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.search_recall import Answer, answer_of
from bench.vectors import ProbedGallery

_MIB = 1 << 20
_BUILD = {"links": 16, "effort": 200}  # m and ef_construction, as in our own index


class Way(Protocol):
    """A way of searching all domains' galleries, measured by `search_measure`.

    :param efforts: what `set_effort` takes, ascending: the length of a graph's search list; empty where there is none.
    """

    name: str
    efforts: Sequence[int]

    def build(self, galleries: Sequence[ProbedGallery]) -> None:
        """Make ready for searching; what this takes is the way's `build_s`."""

    def index_mib(self) -> float:
        """Size of what is searched, of all domains."""

    def set_effort(self, effort: int) -> None:
        """Search with this effort from now on."""

    def search(self, domain: str, probe: NDArray[np.float64]) -> Answer:
        """The best persons within the threshold."""

    def facts(self) -> dict[str, Any]:
        """Further figures of this way, JSON-serialisable."""

    def close(self) -> None:
        """Let go of memory, files and servers."""


class InMemory:
    """What these have in common: one index per domain, asked for rows, which are turned into persons here.

    A graph is asked for as many rows as its search list holds, which costs it no more than asking for a few; the exact
    ways are asked for all rows within the threshold.
    """

    name = ""
    efforts: Sequence[int] = ()

    def __init__(self, threshold: float) -> None:
        self._least = 1.0 - threshold
        self._indexes: dict[str, Any] = {}
        self._person_of: Mapping[str, NDArray[np.int64]] = {}
        self._effort = 0

    def build(self, galleries: Sequence[ProbedGallery]) -> None:
        self._person_of = {gallery.domain: gallery.person_of for gallery in galleries}
        for gallery in galleries:
            self._indexes[gallery.domain] = self._index(gallery.embeddings)

    def index_mib(self) -> float:
        return sum(self._size(index) for index in self._indexes.values()) / _MIB

    def set_effort(self, effort: int) -> None:
        """Exact ways know one effort only."""

    def search(self, domain: str, probe: NDArray[np.float64]) -> Answer:
        direction = (probe / np.linalg.norm(probe)).astype(np.float32)
        rows, similarities = self._nearest(self._indexes[domain], direction)
        return answer_of(rows[similarities >= self._least], self._person_of[domain])

    def facts(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self._indexes.clear()

    def _index(self, embeddings: NDArray[np.float32]) -> Any:
        raise NotImplementedError

    def _size(self, index: Any) -> int:
        """In bytes."""
        raise NotImplementedError

    def _nearest(self, index: Any, direction: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows, nearest first, and their similarities."""
        raise NotImplementedError


class NumpyProduct(InMemory):
    """One product of a resident matrix and the probe: exact, and as fast as the memory."""

    name = "numpy"

    def _index(self, embeddings: NDArray[np.float32]) -> Any:
        return embeddings.copy()

    def _size(self, index: Any) -> int:
        return int(index.nbytes)

    def _nearest(self, index: Any, direction: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        similarities = index @ direction
        within = np.flatnonzero(similarities >= self._least)
        order = within[np.argsort(-similarities[within])]
        return order, similarities[order]


class Hnswlib(InMemory):
    """hnswlib's graph, in memory."""

    name = "hnswlib"
    efforts: Sequence[int] = (50, 100, 200, 400, 800, 1600, 3200)

    def _index(self, embeddings: NDArray[np.float32]) -> Any:
        import hnswlib

        index = hnswlib.Index(space="ip", dim=embeddings.shape[1])
        index.init_index(max_elements=len(embeddings), M=_BUILD["links"], ef_construction=_BUILD["effort"])
        index.add_items(embeddings)
        return index

    def _size(self, index: Any) -> int:
        return int(index.index_file_size())

    def set_effort(self, effort: int) -> None:
        self._effort = effort
        for index in self._indexes.values():
            index.set_ef(effort)

    def _nearest(self, index: Any, direction: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows, distances = index.knn_query(direction, k=min(self._effort, index.element_count), num_threads=1)
        return rows[0].astype(np.int64), 1 - distances[0]


class FaissHnsw(InMemory):
    """faiss's graph, in memory."""

    name = "faiss"
    efforts: Sequence[int] = (50, 100, 200, 400, 800, 1600, 3200)

    def _index(self, embeddings: NDArray[np.float32]) -> Any:
        import faiss

        index = faiss.IndexHNSWFlat(embeddings.shape[1], _BUILD["links"], faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _BUILD["effort"]
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        index.add(embeddings)
        faiss.omp_set_num_threads(1)  # one search has no use for more
        return index

    def _size(self, index: Any) -> int:
        import faiss

        return int(faiss.serialize_index(index).nbytes)

    def set_effort(self, effort: int) -> None:
        self._effort = effort
        for index in self._indexes.values():
            index.hnsw.efSearch = effort

    def _nearest(self, index: Any, direction: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        similarities, rows = index.search(direction[np.newaxis], min(self._effort, index.ntotal))
        found = rows[0] >= 0
        return rows[0][found], similarities[0][found]


class FaissFlat(FaissHnsw):
    """faiss's exact scan."""

    name = "faiss_flat"
    efforts: Sequence[int] = ()

    def _index(self, embeddings: NDArray[np.float32]) -> Any:
        import faiss

        index = faiss.IndexFlatIP(embeddings.shape[1])
        index.add(embeddings)
        return index

    def set_effort(self, effort: int) -> None:
        """It is exact."""

    def _nearest(self, index: Any, direction: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        _, similarities, rows = index.range_search(direction[np.newaxis], self._least)
        order = np.argsort(-similarities)
        return rows[order], similarities[order]
