"""Deleting a person from everywhere, and the receipt that is kept of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.domain import person_key
from app.gallery_change import GalleryChange
from app.services.people import person_sql as sql
from app.services.people.gallery_changes import GalleryChanges
from app.services.people.named_rows import forget_person
from app.services.people.person_images import PersonImages
from app.services.people.person_records import Person, Scope
from app.services.people.person_store import PersonStore

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

_LIMIT_S = 5.0

ForgetElsewhere = Callable[[str, str], dict[str, int]]


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a person was deleted; it holds no name, no photo and no vector.

    :param counts: where -> how many of what was removed there.
    :param completed_at: None while photo files or rows of the PKL could not be removed yet; the next change of the
        domain, or `scripts.fold_pkl_journal`, tries again.
    """

    receipt_id: str
    domain: str
    person_id: int
    counts: dict[str, int]
    deleted_at: datetime | None = None
    completed_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        times = {"deleted_at": self.deleted_at, "completed_at": self.completed_at}
        written = {name: time and time.isoformat(timespec="seconds") for name, time in times.items()}
        return asdict(self) | written


class PersonDeletion:
    """Deletes persons.

    :param forget_elsewhere: (domain, pseudonym) -> what was removed outside galleries and database: references in
        logs, older copies of the gallery file.
    """

    def __init__(
        self,
        database: Database,
        store: PersonStore,
        images: PersonImages,
        changes: GalleryChanges,
        forget_elsewhere: ForgetElsewhere,
    ) -> None:
        self._database = database
        self._store = store
        self._images = images
        self._changes = changes
        self._forget_elsewhere = forget_elsewhere

    def delete(self, scope: Scope, person_id: int) -> Receipt:
        """Remove a person's photos, vectors, journal entries, records and log references; rewrite the PKL without them.

        :raises NotFound: the domain has no such person.
        :raises StoreUnavailable: a store cannot be written; nobody was deleted.
        """
        receipt, pseudonym = self._changes.carry_out(
            scope.domain, lambda cursor: self._delete(cursor, scope, person_id)
        )
        return self._with_counts(receipt, receipt.counts | self._forget_elsewhere(scope.domain, pseudonym))

    def _delete(self, cursor: Cursor, scope: Scope, person_id: int) -> tuple[tuple[Receipt, str], GalleryChange]:
        domain = scope.domain
        person = self._store.require(cursor, domain, person_id)
        images = self._images.of(cursor, domain, person)
        counts = self._images.counts(domain, person, images) | self._remove_rows(cursor, domain, person, images)
        change = replace(self._images.removed(domain, images), forget=True)
        receipt = _recorded(cursor, scope, Receipt(str(uuid.UUID(change.id)), domain, person_id, counts))
        self._store.audit(cursor, scope, "person.deleted", f"person {person_id}", counts)
        return (receipt, str(person_key(domain, person.name))), change

    def _remove_rows(self, cursor: Cursor, domain: str, person: Person, images: list[str]) -> dict[str, int]:
        named: dict[str, Any] = {"domain": domain, "id": person.id, "name": person.name, "person": person.name}
        cursor.execute(sql.REMOVE_RECORDS, named | {"images": images})
        records = cursor.rowcount
        cursor.execute(sql.DELETE_MERGES_OF_NAME, named)
        merges = cursor.rowcount
        faces = self._store.remove_images(cursor, domain, person.id, images)
        self._store.remove(cursor, person.id)
        counts = {"persons": 1, "database_faces": faces, "processed_images": records, "merges": merges}
        return counts | forget_person(cursor, domain, person.name)

    def _with_counts(self, receipt: Receipt, counts: dict[str, int]) -> Receipt:
        with self._database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.FINAL_COUNTS, {"receipt_id": receipt.receipt_id, "counts": json.dumps(counts)})
            ((completed_at,),) = cursor.fetchall()
        return replace(receipt, counts=counts, completed_at=completed_at)


def _recorded(cursor: Cursor, scope: Scope, receipt: Receipt) -> Receipt:
    cursor.execute(
        sql.ADD_RECEIPT,
        {
            "receipt_id": receipt.receipt_id,
            "domain": scope.domain,
            "actor": scope.actor,
            "counts": json.dumps(receipt.counts),
        },
    )
    ((deleted_at,),) = cursor.fetchall()
    return replace(receipt, deleted_at=deleted_at)
