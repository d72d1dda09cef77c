"""What the key of a profile's photo may look like, whichever store it lies in."""

from __future__ import annotations

PHOTO_FOLDER = "profile_images"
PHOTO_TYPES = {".jpg": "image/jpeg", ".webp": "image/webp"}  # by the end of the key (CONTRACT, part B)
READ_TYPES = frozenset({".jpg", ".jpeg", ".png", ".webp"})  # what others may have put there

_LONGEST = 1024  # bytes, as S3 allows
_LONGEST_NAME = 240  # bytes of an entity's id: Milvus takes 255, and a file's name as many with its ending
_TWIN = {".jpg": ".webp", ".webp": ".jpg"}


def is_photo_key(key: str) -> bool:
    """Whether `key` names a photo inside its store, such as `profile_images/{entity_id}.jpg`.

    A document comes from elsewhere, so its key may be anything: an address, a path that leads out of the folder, or the
    bucket's other contents.
    """
    return key[key.rfind(".") :].lower() in READ_TYPES and _stays_inside(key)


def is_entity_id(text: str) -> bool:
    """Whether a profile that is imported may be called so: its photo is a file of that name."""
    return "/" not in text and _stays_inside(text) and len(text.encode("utf-8", "replace")) <= _LONGEST_NAME


def photo_key(entity_id: str, suffix: str = ".jpg") -> str:
    """The key of an entity's photo.

    :param suffix: of PHOTO_TYPES.
    """
    return f"{PHOTO_FOLDER}/{entity_id}{suffix}"


def twin_key(key: str) -> str | None:
    """The key of the same photo in the other format; None where the key has no format of PHOTO_TYPES."""
    suffix = key[key.rfind(".") :] if "." in key else ""
    return key.removesuffix(suffix) + _TWIN[suffix] if suffix in _TWIN else None


def _stays_inside(key: str) -> bool:
    parts = key.split("/")
    return (
        key.isprintable()
        and not set(key) & {"\\", ":"}
        and all(part and not part.startswith(".") for part in parts)
        and len(key.encode("utf-8", "replace")) <= _LONGEST
    )
