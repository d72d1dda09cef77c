"""Adding, finding and changing persons, in both galleries at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceMatches
from app.errors import BadRequest, Conflict
from app.gallery_change import GalleryChange
from app.services.people.gallery_changes import GalleryChanges
from app.services.people.named_rows import rename_person
from app.services.people.person_images import PersonImages
from app.services.people.person_records import (
    EnrolledFace,
    EnrolmentPhoto,
    Person,
    PersonPage,
    PersonQuery,
    Scope,
    check_person_name,
)
from app.services.people.person_store import PersonStore

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

READ_LIMIT_S = 5.0

LookAlikes = Callable[[str, NDArray[np.float64]], list[FaceMatches]]


class PersonService:
    """Persons of all domains; what it changes counts at the next request of every worker.

    :param look_alikes: (domain, (F, D) probes) -> for each probe the persons within the threshold.
    """

    def __init__(
        self,
        database: Database,
        store: PersonStore,
        images: PersonImages,
        changes: GalleryChanges,
        look_alikes: LookAlikes,
    ) -> None:
        self._database = database
        self._store = store
        self._images = images
        self._changes = changes
        self._look_alikes = look_alikes

    def page(self, domain: str, query: PersonQuery) -> PersonPage:
        """Persons by name.

        :raises StoreUnavailable: the database cannot be asked.
        """
        with self._database.transaction(READ_LIMIT_S, read_only=True) as cursor:
            return self._store.page(cursor, domain, query)

    def show(self, domain: str, person_id: int) -> tuple[Person, list[EnrolledFace]]:
        """A person with their faces.

        :raises NotFound: the domain has no such person.
        """
        with self._database.transaction(READ_LIMIT_S, read_only=True) as cursor:
            return self._store.require(cursor, domain, person_id), self._store.faces(cursor, person_id)

    def add(self, scope: Scope, name: str, photos: Sequence[EnrolmentPhoto], force: bool = False) -> Person:
        """A new person, known by these photos.

        :param force: also where a photo looks like another person.
        :raises BadRequest: the name cannot be one, or there is no photo.
        :raises Conflict: codes `name_taken`, `looks_like_another`, `photo_exists`.
        """
        tidy = check_person_name(name)
        self._require_photos(scope.domain, tidy, photos, force)

        def work(cursor: Cursor) -> tuple[int, GalleryChange]:
            person_id = self._store.add(cursor, scope.domain, tidy)
            return person_id, self._enrol(cursor, scope, person_id, photos, "person.added")

        return self.show(scope.domain, self._changes.carry_out(scope.domain, work))[0]

    def add_photos(self, scope: Scope, person_id: int, photos: Sequence[EnrolmentPhoto], force: bool = False) -> Person:
        """More photos of a person.

        :param force: also where a photo looks like another person.
        :raises NotFound: the domain has no such person.
        :raises BadRequest: there is no photo.
        :raises Conflict: codes `looks_like_another`, `photo_exists`.
        """
        person, _ = self.show(scope.domain, person_id)
        self._require_photos(scope.domain, person.name, photos, force)

        def work(cursor: Cursor) -> tuple[None, GalleryChange]:
            return None, self._enrol(cursor, scope, person_id, photos, "person.photos_added")

        self._changes.carry_out(scope.domain, work)
        return self.show(scope.domain, person_id)[0]

    def rename(self, scope: Scope, person_id: int, name: str) -> Person:
        """Give a person another name; their photos go to a folder of that name.

        :raises NotFound: the domain has no such person.
        :raises BadRequest: the name cannot be one.
        :raises Conflict: code `name_taken`.
        """
        tidy = check_person_name(name)

        def work(cursor: Cursor) -> tuple[None, GalleryChange]:
            person = self._store.require(cursor, scope.domain, person_id)
            if person.name == tidy:
                return None, GalleryChange(scope.domain)
            images = self._images.of(cursor, scope.domain, person)
            self._store.rename(cursor, scope.domain, person_id, tidy)
            return None, self.relocate(cursor, scope, person, replace(person, name=tidy), images, "person.renamed")

        self._changes.carry_out(scope.domain, work)
        return self.show(scope.domain, person_id)[0]

    def remove_photo(self, scope: Scope, person_id: int, face_id: int) -> Person:
        """Remove the photo that this face is on, with every face on it.

        :raises NotFound: the domain has no such person, or the person no such face.
        """

        def work(cursor: Cursor) -> tuple[None, GalleryChange]:
            self._store.require(cursor, scope.domain, person_id)
            image = self._store.image_of_face(cursor, person_id, face_id)
            faces = self._store.remove_images(cursor, scope.domain, person_id, [image])
            self._store.audit(cursor, scope, "person.photo_removed", f"person {person_id}", {"faces": faces})
            return None, self._images.removed(scope.domain, [image])

        self._changes.carry_out(scope.domain, work)
        return self.show(scope.domain, person_id)[0]

    def move_photo(self, scope: Scope, person_id: int, face_id: int, to: int) -> Person:
        """Make the photo that this face is on another person's; the one who has it now.

        :raises NotFound: the domain has no such persons, or the person no such face.
        """

        def work(cursor: Cursor) -> tuple[None, GalleryChange]:
            person = self._store.require(cursor, scope.domain, person_id)
            target = self._store.require(cursor, scope.domain, to)
            image = self._store.image_of_face(cursor, person_id, face_id)
            return None, self.relocate(cursor, scope, person, target, [image], "person.photo_moved")

        if to == person_id:
            raise BadRequest("The photo is this person's already.", code="same_person")
        self._changes.carry_out(scope.domain, work)
        return self.show(scope.domain, to)[0]

    def relocate(
        self, cursor: Cursor, scope: Scope, person: Person, to: Person, images: Sequence[str], action: str
    ) -> GalleryChange:
        """Make these images of a person another's, or the same person's of another name."""
        taken = [] if to.id == person.id else self._images.of(cursor, scope.domain, to)
        paths = self._images.paths_below(to.name, images, taken)
        faces = self._store.relocate(cursor, scope.domain, person.id, to, paths)
        if to.id == person.id:
            rename_person(cursor, scope.domain, person.name, to.name, paths)
        counts = {"photos": len(paths), "faces": faces}
        self._store.audit(cursor, scope, action, f"person {person.id} to {to.id}", counts)
        return self._images.relocated(scope.domain, to, paths)

    def _enrol(
        self, cursor: Cursor, scope: Scope, person_id: int, photos: Sequence[EnrolmentPhoto], action: str
    ) -> GalleryChange:
        person = self._store.require(cursor, scope.domain, person_id)
        known = set(self._images.of(cursor, scope.domain, person))
        if known & {photo.image_of(person.name) for photo in photos}:
            raise Conflict("This person has one of these photos already.", code="photo_exists")
        self._store.add_faces(cursor, scope.domain, person, photos)
        self._store.audit(cursor, scope, action, f"person {person_id}", {"photos": len(photos)})
        return self._images.added(scope.domain, person, photos)

    def _require_photos(self, domain: str, name: str, photos: Sequence[EnrolmentPhoto], force: bool) -> None:
        if not photos:
            raise BadRequest("Send at least one photo as the file field 'images'.", code="images_missing")
        if len({photo.sha256 for photo in photos}) < len(photos):
            raise BadRequest("The same photo was sent twice.", code="photo_repeated")
        if force:
            return
        probes = np.stack([photo.face.embedding for photo in photos])
        for number, matches in enumerate(self._look_alikes(domain, probes)):
            other = next((match for match in matches if match.person != name), None)
            if other is not None:
                raise Conflict(
                    f"Photo {number + 1} looks like another person of this domain; if it is somebody else, an"
                    " administrator can enrol it with force=true.",
                    code="looks_like_another",
                    details={"photo": number + 1, "person": other.person, "distance": other.distance},
                )
