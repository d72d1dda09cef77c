"""The rows of `comparisons`: written in batches, explained, listed, judged, and deleted when they are old."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.errors import BadRequest, NotFound
from app.services.parity import parity_sql as sql
from app.services.parity.comparison_rows import DELETED, renamed, row_of, row_renamed, storable
from app.services.parity.person_rows import KnownElsewhere, gone_persons
from app.services.parity.records import JUDGEMENTS, Cause, ComparisonQuery, ComparisonRecord, StoredComparison

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

_LIMIT_S = 5.0
_PRUNED_ROWS = 1000  # deleted at a time: a transaction of some ten milliseconds


@dataclass(frozen=True, slots=True)
class SealedFace:
    """An encrypted probe embedding of a comparison.

    :param face: its place in the comparison, 0 for the largest.
    """

    record_id: str
    face: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a comparison came out different.

    :param proof: what was looked at and seen, JSON-serialisable, without vectors.
    :param persons: everybody whom the proof names.
    """

    cause: Cause
    proof: dict[str, Any]
    persons: Sequence[str] = ()


class ParityStore:
    """Reads and writes comparisons.

    :param database: with connections of its own, so that requests never wait for them.
    :param known_elsewhere: (domain, names) -> those of the names whom a gallery beside the database knows.
    """

    def __init__(self, database: Database, known_elsewhere: KnownElsewhere = lambda _, names: set(names)) -> None:
        self.database = database
        self._known_elsewhere = known_elsewhere

    # --- writing

    def write(
        self,
        records: Sequence[ComparisonRecord],
        sealed: Iterable[SealedFace] = (),
        lost: Mapping[str, int] | None = None,
    ) -> None:
        """Write a batch in one transaction; a batch that was written already is left as it is.

        :param lost: by domain, how many comparisons could not be written before.
        :raises StoreUnavailable: nothing was written, or the answer was lost: write it again.
        """
        with self.database.transaction(_LIMIT_S) as cursor:
            gone = self._gone(cursor, records)
            rows = [row_renamed(row_of(record), gone[record.domain]) for record in records]
            cursor.execute(sql.INSERT, {"rows": json.dumps(rows)})
            is_new = cursor.rowcount > 0  # else the COMMIT came through the first time, and its answer did not
            deleted = {row["record_id"] for row in rows if DELETED in row["persons"]}
            for face in sealed:
                if face.record_id not in deleted:
                    cursor.execute(
                        sql.INSERT_FACE, {"record_id": face.record_id, "face": face.face, "sealed": face.sealed}
                    )
            for domain, count in (lost or {}).items() if is_new else ():
                cursor.execute(sql.INSERT_LOSS, {"domain": domain, "lost": count})

    def explain(self, record: ComparisonRecord, found: Explanation) -> None:
        """Note why the comparison came out different.

        :raises StoreUnavailable: it was not noted.
        """
        with self.database.transaction(_LIMIT_S) as cursor:
            names = self._gone_of(cursor, record.domain, found.persons)
            noted = {
                "record_id": record.record_id,
                "cause": found.cause,
                "proof": json.dumps(storable(renamed(found.proof, names))),
                "persons": [storable(names.get(person, person)) for person in found.persons],
            }
            cursor.execute(sql.EXPLAIN, noted)

    def prune(self, days: int) -> int:
        """Delete some of what is older than so many days; how many rows, 0 where nothing is left or another is at it.

        :raises StoreUnavailable: nothing was deleted.
        """
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.TRY_PRUNE)
            if cursor.fetchone() != (True,):
                return 0
            cursor.execute(sql.DELETE_OLD_LOSSES, {"days": days})
            cursor.execute(sql.DELETE_OLD, {"days": days, "rows": _PRUNED_ROWS})
            return cursor.rowcount

    # --- reading

    def comparisons(self, query: ComparisonQuery) -> list[StoredComparison]:
        """Comparisons, newest first.

        :raises StoreUnavailable: the database cannot be asked.
        """
        parameters = {field.name: getattr(query, field.name) for field in fields(query)}
        parameters |= {"domains": _listed(query.domains), "verdicts": [str(verdict) for verdict in query.verdicts]}
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.LIST, parameters)
            return [StoredComparison(*row) for row in cursor.fetchall()]

    def comparison(self, comparison_id: int, domains: Sequence[str] | None = None) -> StoredComparison:
        """One comparison.

        :param domains: those whose comparisons may be seen; None for all.
        :raises NotFound: there is none of that number in these domains.
        """
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.ONE, {"id": comparison_id, "domains": _listed(domains)})
            row = cursor.fetchone()
        if row is None:
            raise NotFound("There is no such comparison.", code="comparison_unknown")
        return StoredComparison(*row)

    def sealed_faces(self, comparison_id: int) -> dict[int, bytes]:
        """The encrypted probe embeddings that were kept, by the face's place."""
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.FACES, {"id": comparison_id})
            return {face: bytes(sealed) for face, sealed in cursor.fetchall()}

    def lost(self, domains: Sequence[str] | None = None, since: datetime | None = None) -> int:
        """How many comparisons of all workers could not be written, as far as that could be noted."""
        with self.database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.LOST, {"domains": _listed(domains), "since": since})
            ((count,),) = cursor.fetchall()
        return int(count)

    # --- judging

    def judge(self, comparison_id: int, domain: str, judged: str, by: str) -> None:
        """Note who was right; a second judgement replaces the first.

        :param judged: one of `JUDGEMENTS`.
        :param by: a token's id, never a name.
        :raises BadRequest: no such judgement.
        :raises NotFound: the domain has no such discrepancy.
        """
        if judged not in JUDGEMENTS:
            raise BadRequest(f"A judgement is one of {', '.join(JUDGEMENTS)}.", code="invalid_judgement")
        with self.database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.JUDGE, {"id": comparison_id, "domain": domain, "judged": judged, "judged_by": by})
            if not cursor.rowcount:
                raise NotFound("This domain has no such discrepancy.", code="comparison_unknown")

    def _gone(self, cursor: Cursor, records: Sequence[ComparisonRecord]) -> dict[str, dict[str, str]]:
        named: dict[str, set[str]] = defaultdict(set)
        for record in records:
            named[record.domain].update(record.persons)
        return {domain: self._gone_of(cursor, domain, sorted(names)) for domain, names in named.items()}

    def _gone_of(self, cursor: Cursor, domain: str, names: Sequence[str]) -> dict[str, str]:
        """What to write for persons who were deleted or renamed while their comparison waited to be written."""
        gone = gone_persons(cursor, domain, names, self._known_elsewhere)
        return {storable(name): DELETED for name in gone}


def _listed(domains: Sequence[str] | None) -> list[str] | None:
    return None if domains is None else list(domains)
