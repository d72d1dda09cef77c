"""Two persons who are one: merging them, and undoing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.errors import BadRequest, NotFound
from app.gallery_change import GalleryChange
from app.services.people import person_sql as sql
from app.services.people.gallery_changes import GalleryChanges
from app.services.people.named_rows import rename_person
from app.services.people.person_images import PersonImages
from app.services.people.person_records import Person, Scope
from app.services.people.person_store import PersonStore

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge that can be undone by its id."""

    id: int
    into: int
    photos: int

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"merge_id": self.id, "into": self.into, "photos": self.photos}


class PersonMerging:
    """Merges persons of a domain."""

    def __init__(self, store: PersonStore, images: PersonImages, changes: GalleryChanges) -> None:
        self._store = store
        self._images = images
        self._changes = changes

    def merge(self, scope: Scope, person_id: int, into: int) -> Merge:
        """Make all photos of a person another's and remove the person.

        :raises BadRequest: both are one.
        :raises NotFound: the domain lacks one of them.
        """
        if person_id == into:
            raise BadRequest("A person cannot be merged into themselves.", code="same_person")
        return self._changes.carry_out(scope.domain, lambda cursor: self._merge(cursor, scope, person_id, into))

    def undo(self, scope: Scope, merge_id: int) -> Person:
        """Bring back the person who was merged, with those photos that were not removed or moved elsewhere since.

        :raises NotFound: the domain has no such merge, or it was undone.
        :raises Conflict: code `name_taken`, somebody else has the name by now.
        """
        return self._changes.carry_out(scope.domain, lambda cursor: self._undo(cursor, scope, merge_id))

    def _merge(self, cursor: Cursor, scope: Scope, person_id: int, into: int) -> tuple[Merge, GalleryChange]:
        domain, store = scope.domain, self._store
        person, target = store.require(cursor, domain, person_id), store.require(cursor, domain, into)
        images = self._images.of(cursor, domain, person)
        paths = self._images.paths_below(target.name, images, self._images.of(cursor, domain, target))
        faces = store.relocate(cursor, domain, person_id, target, paths)
        merge_id = _record(cursor, person, into, paths)
        store.remove(cursor, person_id)
        rename_person(cursor, domain, person.name, target.name, paths)
        counts = {"photos": len(paths), "faces": faces}
        store.audit(cursor, scope, "person.merged", f"person {person_id} into {into}", counts)
        return Merge(merge_id, into, len(paths)), self._images.relocated(domain, target, paths)

    def _undo(self, cursor: Cursor, scope: Scope, merge_id: int) -> tuple[Person, GalleryChange]:
        domain, store = scope.domain, self._store
        target_id, name = _require_merge(cursor, domain, merge_id)
        cursor.execute(sql.MERGED_IMAGES, {"merge_id": merge_id})
        paths = dict(cursor.fetchall())
        person = store.require(cursor, domain, store.add(cursor, domain, name))
        faces = store.relocate(cursor, domain, target_id, person, paths)
        cursor.execute(sql.DELETE_MERGE, {"merge_id": merge_id})
        counts = {"photos": len(paths), "faces": faces}
        store.audit(cursor, scope, "merge.undone", f"merge {merge_id}, person {person.id}", counts)
        return store.require(cursor, domain, person.id), self._images.relocated(domain, person, paths)


def _record(cursor: Cursor, person: Person, into: int, paths: dict[str, str]) -> int:
    """What an undo needs; it names the person, and goes when the person who took the photos is deleted."""
    cursor.execute(sql.HAND_OVER_MERGES, {"id": person.id, "to": into})
    cursor.execute(sql.ADD_MERGE, {"to": into, "name": person.name})
    ((merge_id,),) = cursor.fetchall()
    cursor.execute(sql.ADD_MERGE_IMAGES, {"merge_id": merge_id, "old": list(paths), "new": list(paths.values())})
    return int(merge_id)


def _require_merge(cursor: Cursor, domain: str, merge_id: int) -> tuple[int, str]:
    cursor.execute(sql.MERGE, {"merge_id": merge_id, "domain": domain})
    row = cursor.fetchone()
    if row is None:
        raise NotFound("This domain has no such merge, or it was undone.", code="merge_unknown")
    target_id, name = row
    return target_id, name
