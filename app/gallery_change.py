"""A change of a domain's persons, as both galleries and the photos' folder are told of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from app.domain import GalleryFace


@dataclass(frozen=True, slots=True)
class FileMove:
    """A file or folder below the domain's gallery folder that goes to another place there.

    :param target: None where it is removed for good.
    """

    source: str
    target: str | None


@dataclass(frozen=True, slots=True)
class GalleryChange:
    """What becomes of some images, all at once.

    :param removed: images that the PKL gallery no longer holds.
    :param faces: the faces that now stand for their images, in place of any that stood there.
    :param moves: what happens to the photo files once the change is committed, in this order.
    :param forget: rewrite the PKL at once, because the rows that it hides must not lie there any longer.
    """

    domain: str
    removed: tuple[str, ...] = ()
    faces: tuple[GalleryFace, ...] = ()
    moves: tuple[FileMove, ...] = ()
    forget: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True)
class UnsettledChange:
    """A change that a journal holds and that was not brought to its end yet."""

    id: str
    moves: tuple[FileMove, ...]
    forget: bool
