"""Copies the faces of a spec from Postgres into the index, finds what differs, and gives the index up again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import EmbeddingSpec, FloatArray
from app.errors import StoreUnavailable
from app.services.mirror import mirror_sql as sql
from app.services.mirror.outbox import Mirror, Outbox, indexed_face, lock
from app.services.stored_values import register_spec

if TYPE_CHECKING:
    from app.adapters.milvus_gallery import MilvusGallery
    from app.adapters.postgres import Database

FaceIds = NDArray[np.int64]

_LIMIT_S = 120.0
_PAGE = 1000
_IDS_PAGE = 50_000
# Milvus may normalise vectors and give them back in float32: equal but for the last bits.
_SAME_DIRECTION = 1e-5


@dataclass(frozen=True, slots=True)
class DomainCheck:
    """How a domain stands in the index, held against Postgres.

    :param missing: faces that the index lacks; :param strays: that it has, and Postgres has not.
    :param sampled: vectors that were compared; :param other_vector: those of them that differ.
    """

    domain: str
    faces: int
    missing: int
    strays: int
    sampled: int
    other_vector: int

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.strays or self.other_vector)


class MirrorSync:
    """What an operator does with the index.

    :param outbox: of the same index.
    """

    def __init__(self, database: Database, spec: EmbeddingSpec, index: MilvusGallery, outbox: Outbox) -> None:
        self._database = database
        self._spec = spec
        self._index = index
        self._outbox = outbox

    def prepare(self, from_start: bool = False) -> int:
        """Make the collection, note every change from now on, and say how many faces are to be brought there.

        :param from_start: copy those again that were copied before.
        :raises StoreUnavailable: a store failed.
        """
        if from_start or not self._index.exists():
            self._restart()
        self._index.create()
        with self._database.transaction(_LIMIT_S) as cursor:
            spec_id = register_spec(cursor, self._spec)
            cursor.execute(sql.REGISTER, {"collection": self._index.collection, "spec_id": spec_id})
            cursor.execute(sql.ENABLE_TRIGGERS)
            mirror = _required(self._outbox.mirror(cursor))
            cursor.execute(sql.TO_BRING, {"mirror_id": mirror.id})
            ((count,),) = cursor.fetchall()
        return int(count)

    def _restart(self) -> None:
        """Before the collection is made: an empty one must not pass for one that holds everybody."""
        with self._database.transaction(_LIMIT_S) as cursor:
            mirror = self._outbox.mirror(cursor)
            if mirror is not None:
                cursor.execute(sql.RESTART, {"mirror_id": mirror.id})

    def copy(self, advance: Callable[[int], None]) -> None:
        """Copy what was not copied yet, then deliver what changed meanwhile; broken off, it goes on from there.

        :param advance: is told of every so many faces.
        :raises StoreUnavailable: a store failed.
        """
        brought = 0
        for bring in (self._copy_page, lambda: self._outbox.deliver(_LIMIT_S)):
            while faces := bring():
                advance(faces)
                brought += faces
        if brought:
            self._index.flush()

    def remove_strays(self) -> int:
        """Remove from the index what Postgres no longer has; how many faces that were.

        Takes 8 bytes of memory for each face on either side.

        :raises StoreUnavailable: a store failed.
        """
        indexed = self._indexed(None)  # first: what is added after it was read must not be taken for a stray
        strays = _only_in(indexed, self._stored(None)).tolist()
        for start in range(0, len(strays), _PAGE):
            self._index.delete(strays[start : start + _PAGE], _LIMIT_S)
        return len(strays)

    def check(self, domain: str, sample: int) -> DomainCheck:
        """Hold every id of a domain, and the vectors of a sample, against Postgres.

        A face that is removed meanwhile counts as a stray, one that is added meanwhile as missing.

        :param sample: how many vectors are compared.
        :raises StoreUnavailable: a store failed.
        """
        indexed, stored = self._indexed(domain), self._stored(domain)
        common = np.intersect1d(indexed, stored)
        chosen = np.random.default_rng(0).choice(common, min(sample, len(common)), replace=False).tolist()
        return DomainCheck(
            domain=domain,
            faces=len(stored),
            missing=len(_only_in(stored, indexed)),
            strays=len(_only_in(indexed, stored)),
            sampled=len(chosen),
            other_vector=self._differing(chosen),
        )

    def retire(self) -> None:
        """Drop the collection and note no more changes; it need not be registered.

        :raises StoreUnavailable: a store failed.
        """
        with self._database.transaction(_LIMIT_S) as cursor:
            mirror = self._outbox.mirror(cursor)
            if mirror is not None:
                cursor.execute(sql.RETIRE, {"mirror_id": mirror.id})
            cursor.execute(sql.MIRRORS)
            ((left,),) = cursor.fetchall()
            if not left:
                cursor.execute(sql.DISABLE_TRIGGERS)
            self._index.drop()  # within: where it fails, the registration stays

    def _copy_page(self) -> int:
        """Copy the next faces; how many it were. After the last ones, note that the copy is complete."""
        with self._database.transaction(_LIMIT_S) as cursor:
            lock(cursor, _required(self._outbox.mirror(cursor)))
            mirror = _required(self._outbox.mirror(cursor))  # as the last holder of the lock left it
            if mirror.copied_to is None:
                return 0
            cursor.execute(sql.PAGE, {"spec_id": mirror.spec_id, "after": mirror.copied_to, "rows": _PAGE})
            faces = [indexed_face(row) for row in cursor.fetchall()]
            self._index.upsert(faces, _LIMIT_S)
            copied_to = faces[-1].face_id if faces else None
            cursor.execute(sql.COPIED_TO, {"mirror_id": mirror.id, "copied_to": copied_to})
        return len(faces)

    def _indexed(self, domain: str | None) -> FaceIds:
        return np.fromiter(chain.from_iterable(self._index.face_ids(domain)), dtype=np.int64)

    def _stored(self, domain: str | None) -> FaceIds:
        return np.fromiter(self._stored_ids(domain), dtype=np.int64)

    def _stored_ids(self, domain: str | None) -> Iterator[int]:
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            spec_id = _required(self._outbox.mirror(cursor)).spec_id
            scope = {"spec_id": spec_id, "domain": domain, "rows": _IDS_PAGE}
            cursor.execute(sql.FACE_IDS, scope | {"after": 0})
            while page := cursor.fetchall():
                yield from (face_id for (face_id,) in page)
                cursor.execute(sql.FACE_IDS, scope | {"after": page[-1][0]})

    def _differing(self, face_ids: list[int]) -> int:
        indexed = self._index.embeddings(face_ids, _LIMIT_S) if face_ids else {}
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            spec_id = _required(self._outbox.mirror(cursor)).spec_id
            cursor.execute(sql.FACES, {"spec_id": spec_id, "faces": face_ids})
            faces = [indexed_face(row) for row in cursor.fetchall()]
        return sum(not _is_same(face.embedding, indexed.get(face.face_id)) for face in faces)


def _only_in(these: FaceIds, those: FaceIds) -> FaceIds:
    return np.setdiff1d(these, those, assume_unique=True)


def _is_same(stored: FloatArray, indexed: FloatArray | None) -> bool:
    if indexed is None:
        return True  # removed from the index a moment ago, and from Postgres
    a, b = stored / np.linalg.norm(stored), indexed / np.linalg.norm(indexed)
    return bool(np.abs(a - b).max() <= _SAME_DIRECTION)


def _required(mirror: Mirror | None) -> Mirror:
    if mirror is None:
        raise StoreUnavailable("No Milvus gallery is registered: run `python -m scripts.sync_milvus` without --verify.")
    return mirror
