"""The nouns of profile search, and the ports behind which its three stores stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

# The key of a document's `metadata` -> the platform's name (CONTRACT, part B).
PLATFORMS = {
    "twitterData": "twitter",
    "tiktokData": "tiktok",
    "instagramData": "instagram",
    "facebookData": "facebook",
}
# The code of a refusal that concerns one photo: the store itself works.
OBJECT_FORBIDDEN = "object_forbidden"


@dataclass(frozen=True, slots=True, eq=False)
class IdentityProbe:
    """An identity to be searched.

    :param embedding: (D,), any length above 0; None where there is none, which is then skipped.
    """

    cluster_id: int
    embedding: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class ProfileHit:
    """An entity of the index; `similarity` is the cosine, 1 - distance."""

    entity_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class ProfileMatch:
    """A profile that an identity matches; an entity with several platforms gives several.

    :param profile_image_path: the photo's key, never a URL.
    :param raw_metadata: the whole `metadata` of the document.
    """

    cluster_id: int
    entity_id: str
    similarity: float
    platform: str
    name: str | None
    profile_id: str | None
    profile_url: str | None
    profile_image_path: str | None
    raw_metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """The element of `profile_matches` in a video's results (CONTRACT, part B)."""
        return {
            "entity_id": self.entity_id,
            "similarity": self.similarity,
            "platform": self.platform,
            "name": self.name,
            "profile_id": self.profile_id,
            "profile_url": self.profile_url,
            "profile_image_path": self.profile_image_path,
        }


@dataclass(frozen=True, slots=True)
class ProfileSearchResult:
    """What a search of a video's identities gave.

    :param status: `ok`: searched, whether or not anything was found; `failed`: a store did not answer; `off`.
    :param reason: why it is not `ok`.
    :param matches: by `cluster_id`, best first; an identity that was searched and matches nobody has an empty tuple.
    :param ms: what each store took, in milliseconds.
    """

    status: Literal["ok", "failed", "off"]
    reason: str | None = None
    matches: Mapping[int, tuple[ProfileMatch, ...]] = field(default_factory=dict)
    ms: Mapping[str, float] = field(default_factory=dict)


class ProfileVectors(Protocol):
    """An index of profiles' faces. Each call makes its client when first used, in the process that uses it."""

    def dimensions(self, timeout_s: float) -> int | None:
        """Length of the vectors as the index says it; None where it is empty and takes any.

        :raises StoreUnavailable: it cannot be reached, or is not there; StoreTimeout: too slow.
        """
        ...

    def nearest(self, probes: NDArray[np.float32], top_k: int, timeout_s: float) -> list[list[ProfileHit]]:
        """For each probe, the nearest entities in the index's order, each entity once: all probes in one call.

        :param probes: (n, D) of unit length.
        :raises StoreUnavailable, StoreTimeout: as above.
        """
        ...

    def close(self) -> None:
        """Close this process's client."""
        ...


class ProfileDocuments(Protocol):
    """What is known of entities."""

    def ping(self, timeout_s: float) -> None:
        """:raises StoreUnavailable: it cannot be reached; StoreTimeout: too slow."""
        ...

    def metadata_of(self, entity_ids: Sequence[str], timeout_s: float) -> dict[str, list[Mapping[str, Any]]]:
        """`metadata` of each entity's documents, in one call; an entity without any is left out.

        :raises StoreUnavailable, StoreTimeout: as above.
        """
        ...

    def close(self) -> None:
        """Close this process's client."""
        ...


class ProfilePhotos(Protocol):
    """Photos by key, such as `profile_images/{entity_id}.jpg`."""

    def photo(self, key: str, timeout_s: float) -> bytes | None:
        """The photo; None where there is none, or it is larger than allowed, or the key leads elsewhere.

        :raises StoreUnavailable: it cannot be reached, or refuses us; StoreTimeout: too slow.
        """
        ...

    def close(self) -> None:
        """Close this process's client."""
        ...
