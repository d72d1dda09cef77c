"""A gallery that is searched by an index outside of Postgres and answered from Postgres.

The index only says whose faces are near. Which person a face belongs to now, their name, their images and the exact
distances come from Postgres: a person who was renamed, merged or deleted a moment ago is answered as they are now,
whatever the index still holds, and it holds no name. Faces that it may not show yet are measured beside those it found.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import EmbeddingSpec
from app.errors import StoreTimeout
from app.services import vector_db_sql
from app.services.gallery_holdings import Holdings
from app.services.mirror import mirror_sql as sql
from app.services.mirror.outbox import Mirror, Outbox
from app.services.mirror.walk import PAGES, Walk
from app.services.person_search import StoredFace, Target, stored_faces

if TYPE_CHECKING:
    from app.adapters.milvus_gallery import MilvusGallery
    from app.adapters.postgres import Cursor, Database
    from app.services.vector_db_service import VectorDbService

_NO_SPEC = 0  # the walk needs none: a collection has one only


class MirroredGallery:
    """Finds the faces that may match a probe; implements `FaceSource`.

    :param vector_db: says which domains there are.
    """

    def __init__(
        self, database: Database, spec: EmbeddingSpec, vector_db: VectorDbService, index: MilvusGallery, outbox: Outbox
    ) -> None:
        self._database = database
        self._spec = spec
        self._vector_db = vector_db
        self._index = index
        self._outbox = outbox

    def domains(self) -> frozenset[str]:
        """The domains that can be searched now.

        :raises StoreUnavailable: Postgres cannot be asked.
        """
        return self._vector_db.domains()

    def candidates(
        self, domain: str, probes: NDArray[np.float64], max_distance: float, timeout_s: float
    ) -> list[list[StoredFace]]:
        """For each probe the faces among which its best persons are, each person by their best images.

        :param probes: (F, D) float64. A probe that is zero or not finite has no candidates.
        :param max_distance: cosine distance beyond which nobody is of interest.
        :raises UnknownDomain: the domain has no faces.
        :raises SpecMismatch: it, or the probes, are of another spec.
        :raises StoreUnavailable: a store is down, or the gallery was not copied; StoreTimeout: it is too slow.
        """
        deadline = time.monotonic() + timeout_s
        self._require(domain, probes.shape[1], timeout_s)
        directions, has_direction = _directions(probes)
        targets = (Target(domain, _NO_SPEC, direction, max_distance) for direction in directions)
        walks = [Walk(target) if known else None for target, known in zip(targets, has_direction, strict=True)]
        self._walk(domain, [walk for walk in walks if walk is not None], deadline)
        return self._measure(domain, walks, deadline)

    def _require(self, domain: str, dimensions: int, timeout_s: float) -> None:
        self._spec.require_length(dimensions)
        if domain not in self._vector_db.domains():
            with self._database.transaction(timeout_s, read_only=True) as cursor:
                Holdings.read(cursor, self._spec).of(domain, self._spec)

    def _walk(self, domain: str, walks: list[Walk], deadline: float) -> None:
        """All probes in one question; then, alone, each for which that was not enough."""
        if not walks:
            return
        first, *further = PAGES
        probes = np.stack([walk.target.probe for walk in walks])
        pages = self._index.nearest(domain, probes, first, (), _left(deadline))
        unfinished = [walk for walk, page in zip(walks, pages, strict=True) if walk.take(page)]
        for walk in unfinished:
            for persons in further:
                (page,) = self._index.nearest(domain, walk.target.probe[None], persons, walk.seen, _left(deadline))
                if not walk.take(page):
                    break

    def _measure(self, domain: str, walks: list[Walk | None], deadline: float) -> list[list[StoredFace]]:
        with self._database.transaction(_left(deadline), read_only=True) as cursor:
            cursor.execute(sql.MEASURING)
            mirror = self._outbox.require_mirror(cursor)
            unseen = self._outbox.unseen(cursor, mirror, domain)
            measured = [_nearest(cursor, mirror, walk, unseen) if walk is not None else [] for walk in walks]
        if unseen:
            self._outbox.follow_beside()
        return measured


def _nearest(cursor: Cursor, mirror: Mirror, walk: Walk, unseen: list[int]) -> list[StoredFace]:
    found = walk.found()
    if not found and not unseen:
        return []
    target = replace(walk.target, spec_id=mirror.spec_id)
    parameters = target.parameters() | {"found": found, "unseen": unseen}
    cursor.execute(vector_db_sql.NEAREST.format(scope=sql.FOUND_OR_UNSEEN), parameters)
    return stored_faces(cursor)


def _directions(probes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probes at length 1, and which of them have a direction."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lengths = np.linalg.norm(probes, axis=1)
        return probes / lengths[:, None], np.isfinite(lengths) & (lengths > 0)


def _left(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise StoreTimeout("The gallery did not answer within the time limit.")
    return left_s
