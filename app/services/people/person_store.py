"""The rows of persons, their faces, merges and the audit log; every method works in its caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app.domain import EmbeddingSpec, FaceBox
from app.errors import Conflict, NotFound
from app.services.people import person_sql as sql
from app.services.people.person_records import (
    EnrolledFace,
    EnrolmentPhoto,
    Person,
    PersonPage,
    PersonQuery,
    Scope,
)
from app.services.stored_values import register_spec

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor


class PersonStore:
    """Reads and writes persons.

    :param spec: what new faces are embedded with, and whose faces are counted and shown.
    """

    def __init__(self, spec: EmbeddingSpec) -> None:
        self._spec = spec

    def page(self, cursor: Cursor, domain: str, query: PersonQuery) -> PersonPage:
        """Persons by name."""
        parameters = {
            "domain": domain,
            "spec_key": self._spec.key,
            "pattern": None if query.search is None else f"%{_escaped(query.search)}%",
            "limit": query.limit,
            "offset": query.offset,
        }
        cursor.execute(sql.PAGE, parameters)
        persons = tuple(_person(row) for row in cursor.fetchall())
        cursor.execute(sql.TOTAL, parameters)
        ((total,),) = cursor.fetchall()
        return PersonPage(persons, total)

    def require(self, cursor: Cursor, domain: str, person_id: int) -> Person:
        """:raises NotFound: the domain has no such person."""
        found = self._one(cursor, sql.BY_ID, {"domain": domain, "id": person_id})
        if found is None:
            raise NotFound("This domain has no such person.", code="person_unknown")
        return found

    def named(self, cursor: Cursor, domain: str, name: str) -> Person | None:
        """The person of this name, if there is one."""
        return self._one(cursor, sql.BY_NAME, {"domain": domain, "name": name})

    def faces(self, cursor: Cursor, person_id: int) -> list[EnrolledFace]:
        """The person's faces of the spec, by image."""
        cursor.execute(sql.FACES, {"id": person_id, "spec_key": self._spec.key})
        return [
            EnrolledFace(id, image, FaceBox(x, y, w, h), sha256, created_at)
            for id, image, x, y, w, h, sha256, created_at in cursor.fetchall()
        ]

    def images(self, cursor: Cursor, person_id: int) -> list[str]:
        """The person's images, in every spec."""
        cursor.execute(sql.IMAGES, {"id": person_id})
        return [image for (image,) in cursor.fetchall()]

    def image_of_face(self, cursor: Cursor, person_id: int, face_id: int) -> str:
        """:raises NotFound: the person has no such face."""
        cursor.execute(sql.IMAGE_OF_FACE, {"id": person_id, "face_id": face_id})
        row = cursor.fetchone()
        if row is None:
            raise NotFound("This person has no such face.", code="face_unknown")
        return str(row[0])

    def add(self, cursor: Cursor, domain: str, name: str) -> int:
        """The new person's id.

        :raises Conflict: code `name_taken`.
        """
        cursor.execute(sql.ADD_PERSON, {"domain": domain, "name": name})
        row = cursor.fetchone()
        if row is None:
            raise name_taken()
        return int(row[0])

    def rename(self, cursor: Cursor, domain: str, person_id: int, name: str) -> None:
        """:raises Conflict: code `name_taken`."""
        if self.named(cursor, domain, name) is not None:
            raise name_taken()
        cursor.execute(sql.RENAME, {"id": person_id, "name": name})

    def add_faces(self, cursor: Cursor, domain: str, person: Person, photos: Sequence[EnrolmentPhoto]) -> None:
        """Enrol the photos' faces."""
        spec_id = register_spec(cursor, self._spec)
        for photo in photos:
            cursor.execute(sql.ADD_FACE, _face_columns(person, photo) | {"domain": domain, "spec_id": spec_id})

    def relocate(self, cursor: Cursor, domain: str, person_id: int, to: Person, paths: Mapping[str, str]) -> int:
        """Give images other paths and another person, wherever they are recorded; how many faces that were."""
        old, new = list(paths), list(paths.values())
        moved = {"domain": domain, "id": person_id, "to": to.id, "person": to.name, "old": old, "new": new}
        cursor.execute(sql.RELOCATE, moved)
        faces = cursor.rowcount
        cursor.execute(sql.DROP_STALE_RECORDS, {"domain": domain, "new": sorted(set(new) - set(old))})
        cursor.execute(sql.RELOCATE_RECORDS, moved)
        cursor.execute(sql.RELOCATE_MERGED, moved)
        return faces

    def remove_images(self, cursor: Cursor, domain: str, person_id: int, images: Sequence[str]) -> int:
        """Remove these images of a person wherever they are recorded; how many faces that were."""
        removed = {"domain": domain, "id": person_id, "images": list(images), "person": None}
        cursor.execute(sql.REMOVE_FACES, removed)
        faces = cursor.rowcount
        cursor.execute(sql.REMOVE_RECORDS, removed)
        cursor.execute(sql.REMOVE_MERGED, removed)
        return faces

    def remove(self, cursor: Cursor, person_id: int) -> None:
        """Remove the person, with what still hangs on the row."""
        cursor.execute(sql.DELETE_PERSON, {"id": person_id})

    def audit(self, cursor: Cursor, scope: Scope, action: str, subject: str, counts: Mapping[str, int]) -> None:
        """Note who did what, without a name."""
        cursor.execute(
            sql.AUDIT,
            {
                "actor": scope.actor,
                "domain": scope.domain,
                "action": action,
                "subject": subject,
                "counts": json.dumps(dict(counts)),
            },
        )

    def _one(self, cursor: Cursor, query: str, parameters: dict[str, Any]) -> Person | None:
        cursor.execute(query, parameters | {"spec_key": self._spec.key})
        row = cursor.fetchone()
        return None if row is None else _person(row)


def name_taken() -> Conflict:
    """The error for a name that another person of the domain has."""
    return Conflict(
        "Another person of this domain has that name; add the photos there, or choose another name.", code="name_taken"
    )


def _person(row: tuple[Any, ...]) -> Person:
    id, name, created_at, faces = row
    return Person(id=id, name=name, created_at=created_at, faces=faces)


def _face_columns(person: Person, photo: EnrolmentPhoto) -> dict[str, Any]:
    box = photo.face.box
    return {
        "id": person.id,
        "image": photo.image_of(person.name),
        "image_sha256": photo.sha256,
        "x": box.x,
        "y": box.y,
        "w": box.w,
        "h": box.h,
        "embedding": np.asarray(photo.face.embedding, dtype=np.float32),
    }


def _escaped(text: str) -> str:
    """`text` as itself within a pattern of LIKE."""
    return text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
