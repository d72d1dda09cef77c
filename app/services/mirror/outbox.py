"""Keeps the index outside of Postgres in step: every change lies in an outbox until the index has it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from app.domain import EmbeddingSpec
from app.errors import AppError, StoreUnavailable
from app.face_index import IndexedFace
from app.services.mirror import mirror_sql as sql
from app.services.stored_values import vector_of

if TYPE_CHECKING:
    from app.adapters.milvus_gallery import MilvusGallery
    from app.adapters.postgres import Cursor, Database

UNSEEN_ROWS = 10_000  # so many changed faces a search measures itself, 50 ms at most; what is beyond is not found yet
# A cluster shows a write to every reader some five seconds later (`Bounded` consistency); twice that, and a search.
VISIBLE_AFTER_S = 15.0

_LOCK_SPACE = 726_394  # of the advisory locks; any number that nobody else uses
_BATCH = 1000  # 2 MB at 512 dimensions
_FOLLOW_S = 5.0
_RETRY_AFTER_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A registered index.

    :param copied_to: a copy is under way and has reached the face of this id; None: none is.
    :param is_complete: a copy was finished; what changed since is in the index or in the outbox.
    """

    id: int
    spec_id: int
    copied_to: int | None
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """The changes that the index lacks.

    :param changes: how many; of more than UNSEEN_ROWS, one more than that.
    """

    changes: int

    @property
    def is_too_long(self) -> bool:
        """Whether there are more than a search measures by itself, so that some persons are not found yet."""
        return self.changes > UNSEEN_ROWS


class Outbox:
    """The changes of one spec's faces on their way into the index.

    :param index: where they go.
    """

    def __init__(self, database: Database, spec: EmbeddingSpec, index: MilvusGallery) -> None:
        self._database = database
        self._spec = spec
        self._index = index
        self._down_until = self._next_beside = 0.0

    def mirror(self, cursor: Cursor) -> Mirror | None:
        """The index's registration, if there is one."""
        cursor.execute(sql.MIRROR, {"collection": self._index.collection, "key": self._spec.key})
        row = cursor.fetchone()
        return None if row is None else Mirror(*row)

    def require_mirror(self, cursor: Cursor) -> Mirror:
        """:raises StoreUnavailable: code `gallery_not_synced`, the first copy is not done."""
        mirror = self.mirror(cursor)
        if mirror is None or not mirror.is_complete:
            raise StoreUnavailable(
                "Milvus does not hold this gallery yet: run `python -m scripts.sync_milvus`.", code="gallery_not_synced"
            )
        return mirror

    def unseen(self, cursor: Cursor, mirror: Mirror, domain: str) -> list[int]:
        """The domain's faces that a search of the index may not have seen, at most UNSEEN_ROWS."""
        named = {"mirror_id": mirror.id, "spec_id": mirror.spec_id, "domain": domain, "rows": UNSEEN_ROWS}
        cursor.execute(sql.UNSEEN, named)
        return [face_id for (face_id,) in cursor.fetchall()]

    def backlog(self) -> Backlog:
        """What the index lacks.

        :raises StoreUnavailable: Postgres cannot be asked, or the first copy is not done.
        """
        with self._database.transaction(_FOLLOW_S, read_only=True) as cursor:
            mirror = self.require_mirror(cursor)
            cursor.execute(sql.BACKLOG, {"mirror_id": mirror.id, "rows": UNSEEN_ROWS + 1})
            ((changes,),) = cursor.fetchall()
        return Backlog(changes)

    def deliver(self, timeout_s: float) -> int:
        """Bring one batch of changes into the index; how many it were, 0 when none is left.

        Doing it again, after it was broken off, changes nothing.

        :raises StoreUnavailable: Postgres or the index failed; the changes stay where they are.
        """
        with self._database.transaction(timeout_s) as cursor:
            mirror = self.mirror(cursor)
            if mirror is None:
                return 0
            lock(cursor, mirror)
            cursor.execute(sql.WAITING, {"mirror_id": mirror.id, "rows": _BATCH})
            waiting = dict(cursor.fetchall())
            self._apply(cursor, mirror, sorted(set(waiting.values())), timeout_s)
            cursor.execute(sql.MARK_APPLIED, {"ids": list(waiting)})
            cursor.execute(sql.FORGET_APPLIED, {"mirror_id": mirror.id, "visible_after_s": VISIBLE_AFTER_S})
        return len(waiting)

    def follow(self) -> bool:
        """Bring all changes into the index if that can be done now; whether none is left.

        After a failure the next seconds bring no new attempt, so that a row of changes does not wait for a dead index.
        """
        if time.monotonic() < self._down_until:
            return False
        try:
            return self._deliver_all()
        except AppError as error:
            self._down_until = time.monotonic() + _RETRY_AFTER_S
            log.warning("pgvector.mirror_behind", reason=error.message)
            return False

    def follow_beside(self) -> None:
        """The same in a thread of its own, because an answer must not wait for it; once in some seconds."""
        now = time.monotonic()
        if now >= self._next_beside:
            self._next_beside = now + _RETRY_AFTER_S
            threading.Thread(target=self.follow, name="mirror-follow", daemon=True).start()

    def _deliver_all(self) -> bool:
        """What a bulk load left is too much for the one who comes upon it: so much of it as the limit allows."""
        deadline = time.monotonic() + _FOLLOW_S
        while time.monotonic() < deadline:
            if not self.deliver(_FOLLOW_S):
                return True
        return False

    def _apply(self, cursor: Cursor, mirror: Mirror, face_ids: list[int], timeout_s: float) -> None:
        cursor.execute(sql.FACES, {"spec_id": mirror.spec_id, "faces": face_ids})
        faces = [indexed_face(row) for row in cursor.fetchall()]
        self._index.upsert(faces, timeout_s)
        self._index.delete(sorted(set(face_ids) - {face.face_id for face in faces}), timeout_s)


def lock(cursor: Cursor, mirror: Mirror) -> None:
    """Be the only one who writes to the index until the transaction's end."""
    cursor.execute(sql.LOCK, {"space": _LOCK_SPACE, "mirror_id": mirror.id})


def indexed_face(row: tuple[Any, ...]) -> IndexedFace:
    """A row of `mirror_sql.FACES` or `PAGE`."""
    face_id, domain, person_id, sent = row
    return IndexedFace(face_id, domain, person_id, vector_of(sent))
