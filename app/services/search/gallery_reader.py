"""Reads a domain as it was at a mark: no face that came before it is missed, and none that came after is read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.errors import StoreTimeout
from app.services.search import tuning_sql as sql
from app.services.search.templates import directions

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_TIMEOUT_S = 600.0  # of a statement that reads much
_POLL_S = 0.1
_BLOCK = 4_000  # rows read at a time, 8 MB at 512 dimensions

Block = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class MarkedDomain:
    """The faces of one spec in a domain whose revisions are no greater than `mark`."""

    domain: str
    spec_id: int
    mark: int

    def parameters(self) -> dict[str, Any]:
        """The named parameters of the statements."""
        return {"domain": self.domain, "spec_id": self.spec_id, "mark": self.mark}


def settled_mark(database: Database, wait_s: float = 600.0) -> int:
    """The greatest revision of a face so far, once whoever may have drawn one up to it has come to an end.

    :raises StoreTimeout: somebody is still writing after `wait_s`.
    """
    with database.transaction(_TIMEOUT_S, read_only=True) as cursor:
        cursor.execute(sql.MARK)
        ((mark,),) = cursor.fetchall()
    deadline, waited_for = time.monotonic() + wait_s, _writers(database)
    while waited_for:
        if time.monotonic() > deadline:
            raise StoreTimeout(
                f"A transaction has been writing faces for {wait_s:.0f} s; run the command again when it has ended."
            )
        time.sleep(_POLL_S)
        waited_for &= _writers(database)
    return int(mark)


def faces_by_person(database: Database, marked: MarkedDomain) -> dict[int, int]:
    """How many faces each person has, by id in ascending order."""
    with database.transaction(_TIMEOUT_S, read_only=True) as cursor:
        cursor.execute(sql.FACES_BY_PERSON, marked.parameters())
        return dict(cursor.fetchall())


def blocks(
    database: Database, marked: MarkedDomain, counts: Mapping[int, int], persons: Iterable[int]
) -> Iterator[Block]:
    """The faces of these persons, a person's together: ids (N,) and vectors (N, D) of length 1."""
    for some in _batches(counts, persons):
        with database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.FACES, marked.parameters() | {"persons": some})
            rows = cursor.fetchall()
        if rows:
            ids = np.fromiter((person for person, _ in rows), dtype=np.int64, count=len(rows))
            yield ids, directions(_matrix([sent for _, sent in rows]))


def by_person(block: Block) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each person of a block with their vectors."""
    ids, vectors = block
    edges = [*np.flatnonzero(np.diff(ids, prepend=-1)).tolist(), len(ids)]
    for start, end in pairwise(edges):
        yield int(ids[start]), vectors[start:end]


def _writers(database: Database) -> set[str]:
    with database.transaction(_TIMEOUT_S, read_only=True) as cursor:
        cursor.execute(sql.WRITERS)
        return {transaction for (transaction,) in cursor.fetchall()}


def _batches(counts: Mapping[int, int], persons: Iterable[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    rows = 0
    for person in persons:
        if batch and rows + counts[person] > _BLOCK:
            yield batch
            batch, rows = [], 0
        batch.append(person)
        rows += counts[person]
    if batch:
        yield batch


def _matrix(sent: list[memoryview]) -> NDArray[np.float32]:
    """The vectors that `vector_send` gave, (N, D): each four bytes of its own, then big-endian numbers."""
    rows = np.frombuffer(b"".join(sent), dtype=">f4").reshape(len(sent), -1)
    return rows[:, 1:].astype(np.float32)
