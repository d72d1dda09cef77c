"""The index of profiles' faces in Milvus: which entities are nearest (CONTRACT, part B: the collection `buffalo_l`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.adapters.milvus_connection import Milvus, MilvusUse
from app.services.profiles.records import ProfileHit

PROFILES = MilvusUse(
    switch="PROFILE_SEARCH_MILVUS_URI",
    token_setting="PROFILE_SEARCH_MILVUS_TOKEN",  # noqa: S106  # the setting's name
    no_collection="Milvus has no collection of the name PROFILE_SEARCH_MILVUS_COLLECTION.",
    no_collection_code="profile_index_missing",
)

_FACES_PER_ENTITY = 4  # asked for at once, so that one call is enough unless an entity has very many
_MORE = 16  # times as many where it was not
_MOST_HITS = 16_384  # Milvus's limit of what a search may ask for

T = TypeVar("T")
_Found = list[list[ProfileHit]]


@dataclass(frozen=True, slots=True)
class _Search:
    """One call: every hit of a probe counts, so several may be of one entity."""

    limit: int
    nprobe: int
    timeout_s: float


class MilvusProfiles:
    """A collection of profiles' faces; implements `ProfileVectors`.

    :param milvus: made with `PROFILES`, so that failures name the settings of profile search.
    :param nprobe: how many of the index's lists a search reads.
    """

    def __init__(self, milvus: Milvus, collection: str, nprobe: int) -> None:
        self._milvus = milvus
        self._collection = collection
        self._nprobe = nprobe

    def dimensions(self, timeout_s: float) -> int | None:
        """Length of the collection's vectors.

        :raises StoreUnavailable: Milvus cannot be reached, or lacks the collection; StoreTimeout: it is too slow.
        """
        described = self._milvus.call(
            lambda client, left_s: client.describe_collection(self._collection, timeout=left_s), timeout_s
        )
        lengths = [each["params"].get("dim") for each in described["fields"] if each["name"] == "features"]
        return int(lengths[0]) if lengths and lengths[0] else None

    def nearest(self, probes: NDArray[np.float32], top_k: int, timeout_s: float) -> _Found:
        """For each probe its nearest entities, best first, each once, by its best face.

        One call for all probes, unless an entity has very many faces.

        :param probes: (n, D) of unit length.
        :raises StoreUnavailable: Milvus is down, or lacks the collection; StoreTimeout: it is too slow.
        """
        return self._entities(probes, top_k, self._nprobe, timeout_s)

    def nearest_with(self, nprobe: int, probes: NDArray[np.float32], top_k: int, timeout_s: float) -> _Found:
        """As `nearest`, reading so many of the index's lists; all of them make it exact.

        :raises StoreUnavailable, StoreTimeout: as of `nearest`.
        """
        return self._entities(probes, top_k, nprobe, timeout_s)

    def close(self) -> None:
        """Close this process's connection."""
        self._milvus.close()

    def _entities(self, probes: NDArray[np.float32], top_k: int, nprobe: int, timeout_s: float) -> _Found:
        """Hits grouped by entity here: Milvus Lite 3 groups only among the best `limit` faces, and older servers not at
        all. Where few entities filled a probe's whole answer, such probes are asked again for more."""
        deadline = time.monotonic() + timeout_s
        found: _Found = [[] for _ in probes]
        asking, limit = list(range(len(probes))), min(top_k * _FACES_PER_ENTITY, _MOST_HITS)
        while asking:
            hits = self._hits(probes[asking], _Search(limit, nprobe, deadline - time.monotonic()))
            for n, of_probe in zip(asking, hits, strict=True):
                found[n] = _each_entity_once(of_probe, top_k)
            full = [n for n, of_probe in zip(asking, hits, strict=True) if len(of_probe) == limit < _MOST_HITS]
            asking = [n for n in full if len(found[n]) < top_k]
            limit = min(limit * _MORE, _MOST_HITS)
        return found

    def _hits(self, probes: NDArray[np.float32], search: _Search) -> _Found:
        answers = self._call(
            lambda client, left_s: client.search(
                self._collection,
                data=[probe.tolist() for probe in probes.astype(np.float32)],
                anns_field="features",
                limit=search.limit,
                output_fields=["_entity_id"],
                search_params={"metric_type": "COSINE", "params": {"nprobe": search.nprobe}},
                timeout=left_s,
            ),
            search.timeout_s,
        )
        return [[_hit(hit) for hit in hits] for hits in answers]

    def _call(self, ask: Callable[[Any, float], T], timeout_s: float) -> T:
        return self._milvus.call(ask, timeout_s, loaded=self._collection)


def _hit(hit: Any) -> ProfileHit:
    # With COSINE, what Milvus calls the distance is the similarity; float32 may take it past 1.
    return ProfileHit(str(hit["entity"]["_entity_id"]), min(1.0, float(hit["distance"])))


def _each_entity_once(hits: list[ProfileHit], top_k: int) -> list[ProfileHit]:
    best: dict[str, ProfileHit] = {}
    for hit in hits:
        best.setdefault(hit.entity_id, hit)
    return list(best.values())[:top_k]
