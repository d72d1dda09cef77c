"""Which domains the database holds, and of which spec their faces are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from app.domain import EmbeddingSpec
from app.errors import SpecMismatch, UnknownDomain
from app.services import vector_db_sql as sql
from app.services.search.plan import SearchPlan, Strategy

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor

_WHAT_TO_DO = (
    "Embed the domain again with this spec, or set FACE_PIPELINE and the other FACE_ settings to the one it was"
    " embedded with."
)


@dataclass(frozen=True, slots=True)
class Holding:
    """A domain's faces of the spec in use.

    :param persons: of the domain, whether or not they have such faces.
    :param indexed_rows: roughly how many faces the vector index holds; None where there is no index.
    :param plan: the way to search it that was found by tuning; None where it was not tuned.
    """

    spec_id: int
    persons: int
    indexed_rows: int | None
    plan: SearchPlan | None = None


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the database holds at one moment.

    :param searchable: by domain, those that have faces of the spec in use.
    :param foreign: the other domains, each with the document of a spec that it has faces of.
    """

    searchable: Mapping[str, Holding]
    foreign: Mapping[str, dict[str, Any]]

    @classmethod
    def read(cls, cursor: Cursor, spec: EmbeddingSpec) -> Holdings:
        """Ask the database; a few milliseconds at thousands of persons."""
        cursor.execute(sql.INDEX_ROWS, {"prefix": sql.INDEX_PREFIX})
        index_rows = dict(cursor.fetchall())
        cursor.execute(sql.PLANS, {"key": spec.key})
        plans = {domain: SearchPlan(plan_id, Strategy(way), *rest) for domain, plan_id, way, *rest in cursor.fetchall()}
        cursor.execute(sql.HOLDINGS)
        searchable, foreign = {}, {}
        for domain, persons, spec_id, key, document in cursor.fetchall():
            if key == spec.key:
                indexed_rows = index_rows.get(index_name(domain, key))
                searchable[domain] = Holding(spec_id, persons, indexed_rows, plans.get(domain))
            else:
                foreign[domain] = document
        return cls(searchable, {domain: foreign[domain] for domain in foreign if domain not in searchable})

    def of(self, domain: str, spec: EmbeddingSpec) -> Holding:
        """The domain's faces.

        :raises UnknownDomain: it has none.
        :raises SpecMismatch: it has faces of another spec only.
        """
        if domain in self.foreign:
            self.refuse_foreign(domain, spec)
        if domain not in self.searchable:
            raise UnknownDomain("The database has no such domain.")
        return self.searchable[domain]

    def refuse_foreign(self, domain: str, spec: EmbeddingSpec) -> None:
        """Raise what differs between `spec` and that of a foreign domain.

        :raises SpecMismatch: always.
        """
        where = f"The domain {domain} in the database"
        spec.require_match(self.foreign[domain], where, _WHAT_TO_DO)
        raise SpecMismatch(f"{where} was embedded with a spec of another version of this service. {_WHAT_TO_DO}")


def index_name(domain: str, spec_key: str) -> str:
    """The name of the vector index of a domain and spec: a domain's own name could be too long for it."""
    return sql.INDEX_PREFIX + sha256(f"{domain}/{spec_key}".encode()).hexdigest()[:16]
