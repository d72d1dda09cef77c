"""Persons as they are asked for from outside: photos become faces here, and answers become documents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain import Face, Photo, check_domain_name
from app.errors import AppError
from app.images import ImageLimits, decode_photo, image_extension
from app.services.people.enrolment_quality import QualityLimits, dominant_face, require_quality
from app.services.people.person_deletion import PersonDeletion
from app.services.people.person_merging import PersonMerging
from app.services.people.person_records import EnrolmentPhoto, Person, PersonQuery, Scope
from app.services.people.person_service import PersonService

Document = dict[str, Any]
EmbedFaces = Callable[[Photo], Sequence[Face]]  # all faces of a photo, largest first


@dataclass(frozen=True, slots=True)
class PhotoGate:
    """What a photo must satisfy to be enrolled: the decoder's limits, and those of the face on it."""

    image: ImageLimits
    quality: QualityLimits


@dataclass(frozen=True, slots=True)
class People:
    """The services that change persons."""

    persons: PersonService
    merging: PersonMerging
    deletion: PersonDeletion


class PersonController:
    """Everything under `/persons`, for routes and commands alike.

    Every method that changes something raises StoreUnavailable where a store cannot be written; nothing was changed.
    """

    def __init__(self, embed_faces: EmbedFaces, gate: PhotoGate, people: People) -> None:
        self._embed_faces = embed_faces
        self._gate = gate
        self._people = people

    def page(self, domain: str, query: PersonQuery) -> Document:
        """Persons by name, with their number in all."""
        page = self._people.persons.page(check_domain_name(domain), query)
        persons = [person.to_json() for person in page.persons]
        return {"persons": persons, "total": page.total, "limit": query.limit, "offset": query.offset}

    def show(self, domain: str, person_id: int) -> Document:
        """A person with their faces.

        :raises NotFound: the domain has no such person.
        """
        person, faces = self._people.persons.show(domain, person_id)
        return {"person": person.to_json() | {"photos": [face.to_json() for face in faces]}}

    def add(self, scope: Scope, name: str, images: Sequence[bytes], force: bool = False) -> Document:
        """A new person, known by these photos; of several, one that is refused refuses all.

        :param force: enrol without regard to quality and likeness; a photo must still show one face that stands out.
        :raises AppError: see `PersonService.add`; 422 where a photo is not good enough, 415 where it is no image.
        """
        check_domain_name(scope.domain)
        return _one(self._people.persons.add(scope, name, self._photos(images, force), force))

    def add_photos(self, scope: Scope, person_id: int, images: Sequence[bytes], force: bool = False) -> Document:
        """More photos of a person; parameters and errors as in `add`."""
        return _one(self._people.persons.add_photos(scope, person_id, self._photos(images, force), force))

    def rename(self, scope: Scope, person_id: int, name: str) -> Document:
        """The person under the new name; errors as in `PersonService.rename`."""
        return _one(self._people.persons.rename(scope, person_id, name))

    def remove_photo(self, scope: Scope, person_id: int, face_id: int) -> Document:
        """The person without the photo that this face is on."""
        return _one(self._people.persons.remove_photo(scope, person_id, face_id))

    def move_photo(self, scope: Scope, person_id: int, face_id: int, to: int) -> Document:
        """The person who has the photo now."""
        return _one(self._people.persons.move_photo(scope, person_id, face_id, to))

    def merge(self, scope: Scope, person_id: int, into: int) -> Document:
        """The merge, with the id that undoes it."""
        return {"merge": self._people.merging.merge(scope, person_id, into).to_json()}

    def undo_merge(self, scope: Scope, merge_id: int) -> Document:
        """The person who was merged and is back."""
        return _one(self._people.merging.undo(scope, merge_id))

    def delete(self, scope: Scope, person_id: int) -> Document:
        """The receipt."""
        return {"receipt": self._people.deletion.delete(scope, person_id).to_json()}

    def _photos(self, images: Sequence[bytes], force: bool) -> list[EnrolmentPhoto]:
        return [self._photo(number, content, force) for number, content in enumerate(images, start=1)]

    def _photo(self, number: int, content: bytes, force: bool) -> EnrolmentPhoto:
        try:
            photo = decode_photo(content, self._gate.image)
            face = dominant_face(self._embed_faces(photo), self._gate.quality.dominance)
            if not force:
                require_quality(photo.whole(), face.box, self._gate.quality)
        except AppError as error:
            error.details = {"photo": number} | error.details
            raise
        return EnrolmentPhoto(content, image_extension(content), hashlib.sha256(content).hexdigest(), face)


def _one(person: Person) -> Document:
    return {"person": person.to_json()}
