"""What an index of faces outside of Postgres is given, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain import FloatArray


@dataclass(frozen=True, slots=True)
class NearFace:
    """The nearest face of a person, by cosine distance in float32; both ids are those of Postgres."""

    face_id: int
    person_id: int
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class IndexedFace:
    """A face as an index holds it.

    :param face_id: its id in Postgres; so is the person's.
    :param embedding: (D,) float32, of any length but zero.
    """

    face_id: int
    domain: str
    person_id: int
    embedding: FloatArray
