"""The nouns of enrolment: persons, their faces, photos on their way in, and who asks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from app.domain import Face, FaceBox
from app.errors import BadRequest
from app.person_names import person_name

_MAX_NAME_BYTES = 200  # it becomes a folder, whose name may have 255
_SEPARATORS = frozenset("/\\")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where something is asked, and by whom.

    :param actor: a token's id, or `operator` for a command; never a name.
    """

    domain: str
    actor: str


@dataclass(frozen=True, slots=True)
class Person:
    """A person of a domain.

    :param faces: how many faces of the spec in use are enrolled.
    """

    id: int
    name: str
    created_at: datetime
    faces: int

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return asdict(self) | {"created_at": self.created_at.isoformat(timespec="seconds")}


@dataclass(frozen=True, slots=True)
class EnrolledFace:
    """A face that a person is known by.

    :param image: path of its photo below the domain's gallery folder.
    """

    id: int
    image: str
    box: FaceBox
    image_sha256: str | None
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return asdict(self) | {"created_at": self.created_at.isoformat(timespec="seconds")}


@dataclass(frozen=True, slots=True)
class PersonQuery:
    """Which persons are listed.

    :param search: part of a name, in upper or lower case; None for all.
    """

    search: str | None = None
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class PersonPage:
    """Some persons by name, and how many there are in all."""

    persons: tuple[Person, ...]
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentPhoto:
    """A photo that passed the quality gate.

    :param extension: of its file, with the dot.
    :param face: the one that is enrolled.
    """

    content: bytes
    extension: str
    sha256: str
    face: Face

    def image_of(self, person: str) -> str:
        """The path it is kept under."""
        return f"{person}/{self.sha256[:16]}{self.extension}"


def check_person_name(name: str) -> str:
    """`name` in Unicode NFC with single spaces, if it can be a person's: it becomes a folder, and is read off it again.

    :raises BadRequest: empty, too long, with a path separator or a control character, or beginning with a dot.
    """
    if _SEPARATORS & set(name) or not name.isprintable():
        raise _invalid("It must not hold '/', '\\' or control characters.")
    if not name.strip() or name.strip().startswith("."):
        raise _invalid("It must not be empty or begin with a dot.")
    tidy = person_name(f"{name}/photo")
    if len(tidy.encode(errors="replace")) > _MAX_NAME_BYTES:
        raise _invalid(f"It must not be longer than {_MAX_NAME_BYTES} bytes.")
    return tidy


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"This cannot be a person's name. {why}", code="invalid_name")
