"""Two designs of profile search over the same stores: the one the contract's figures come from, and ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.domain import EmbeddingSpec
from app.services.profile_search_service import ProfileSearchOptions, ProfileSearchService, ProfileStores
from app.services.profiles.platform_profiles import matches_of
from app.services.profiles.records import IdentityProbe, ProfileHit, ProfileMatch

TOP = 5
MIN_SIMILARITY = 0.70
_LIMIT_S = 60.0  # of both designs: what is measured is how long it takes, and not what is cut off

T = TypeVar("T")


@dataclass
class Searched:
    """What a design found for a video's identities, and how long each store took.

    :param photos: how many came.
    """

    entities: list[list[str]] = field(default_factory=list)
    photos: int = 0
    ms: dict[str, float] = field(default_factory=lambda: {"vectors": 0.0, "documents": 0.0, "photos": 0.0})

    @property
    def without_photos_ms(self) -> float:
        return self.ms["vectors"] + self.ms["documents"]

    @property
    def with_photos_ms(self) -> float:
        return sum(self.ms.values())

    def timed(self, store: str, ask: Callable[[], T]) -> T:
        """What `ask` returns; its time is added to the store's."""
        began = time.perf_counter()
        answer = ask()
        self.ms[store] += (time.perf_counter() - began) * 1000
        return answer


class Design(Protocol):
    """A way to search a video's identities."""

    def search(self, probes: NDArray[np.float32]) -> Searched:
        """Matches with their photos.

        :param probes: (identities, D) of unit length.
        """
        ...


class Reference:
    """One identity after another: a search, a question for its documents, its photos one by one (CONTRACT, part B)."""

    def __init__(self, stores: ProfileStores) -> None:
        self._stores = stores

    def search(self, probes: NDArray[np.float32]) -> Searched:
        """See `Design`."""
        searched = Searched()
        for cluster, probe in enumerate(probes):
            matches = self._matches(cluster, probe, searched)
            searched.entities.append(list(dict.fromkeys(match.entity_id for match in matches)))
            for match in matches:
                searched.photos += self._photo(match, searched) is not None
        return searched

    def _matches(self, cluster: int, probe: NDArray[np.float32], searched: Searched) -> list[ProfileMatch]:
        stores, alone = self._stores, probe[np.newaxis]
        (near,) = searched.timed("vectors", lambda: stores.vectors.nearest(alone, TOP, _LIMIT_S))
        hits: list[ProfileHit] = [hit for hit in near if hit.similarity >= MIN_SIMILARITY]
        entities = [hit.entity_id for hit in hits]
        documents = searched.timed("documents", lambda: stores.documents.metadata_of(entities, _LIMIT_S))
        return [match for hit in hits for match in matches_of(cluster, hit, documents[hit.entity_id])]

    def _photo(self, match: ProfileMatch, searched: Searched) -> bytes | None:
        key = match.profile_image_path or ""
        return searched.timed("photos", lambda: self._stores.photos.photo(key, _LIMIT_S))


class Ours:
    """The product's service: every store once for all identities, photos side by side."""

    def __init__(self, stores: ProfileStores, spec: EmbeddingSpec) -> None:
        self._service = ProfileSearchService(
            stores, ProfileSearchOptions(spec, MIN_SIMILARITY, TOP, _LIMIT_S, _LIMIT_S)
        )

    def search(self, probes: NDArray[np.float32]) -> Searched:
        """See `Design`."""
        identities = [IdentityProbe(number, probe.astype(np.float64)) for number, probe in enumerate(probes)]
        result = self._service.search_profiles(identities)
        if result.status != "ok":
            raise RuntimeError(f"The search was not done: {result.reason}")
        found = [result.matches[number] for number in range(len(probes))]
        searched = Searched([list(dict.fromkeys(match.entity_id for match in matches)) for matches in found])
        searched.ms |= result.ms
        keys = [match.profile_image_path or "" for matches in found for match in matches]
        searched.photos = len(searched.timed("photos", lambda: self._service.photos(keys)))
        return searched
