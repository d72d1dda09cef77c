"""From what is known of an entity to its profiles: `metadata` comes from elsewhere, so any field may be amiss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.services.profiles.photo_keys import is_photo_key, photo_key
from app.services.profiles.records import PLATFORMS, ProfileHit, ProfileMatch


def matches_of(cluster_id: int, hit: ProfileHit, documents: Sequence[Mapping[str, Any]]) -> list[ProfileMatch]:
    """A match for each platform of the entity; of several profiles on one platform, the first document's.

    :param documents: `metadata` of the entity's documents.
    """
    by_platform: dict[str, ProfileMatch] = {}
    for metadata in documents:
        for platform, profile in _profiles(metadata):
            by_platform.setdefault(platform, _match(cluster_id, hit, platform, profile, metadata))
    return list(by_platform.values())


def _profiles(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, platform in PLATFORMS.items():
        profile = metadata.get(key)
        if isinstance(profile, Mapping):
            yield platform, profile


def _match(
    cluster_id: int, hit: ProfileHit, platform: str, profile: Mapping[str, Any], metadata: Mapping[str, Any]
) -> ProfileMatch:
    return ProfileMatch(
        cluster_id=cluster_id,
        entity_id=hit.entity_id,
        similarity=hit.similarity,
        platform=platform,
        name=_text(profile.get("name")),
        profile_id=_text(profile.get("id")),
        profile_url=_text(profile.get("profileUrl")),
        profile_image_path=_photo_key(hit.entity_id, profile.get("profileImage")),
        raw_metadata=metadata,
    )


def _text(value: object) -> str | None:
    """A text that says something; numbers are how some documents hold an id."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def _photo_key(entity_id: str, value: object) -> str | None:
    """The photo's key: the one the document names, or, where that is an address or nothing, the entity's own."""
    named = _text(value)
    if named is not None and is_photo_key(named):
        return named
    own = photo_key(entity_id)
    return own if is_photo_key(own) else None
