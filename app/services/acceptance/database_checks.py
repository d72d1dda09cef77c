"""The operator's acceptance test of a live database: each check a line with PASS or FAIL, a figure, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from app.domain import EmbeddingSpec
from app.errors import AppError
from app.services.acceptance import checks_sql as sql

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_TIMEOUT_S = 300.0  # of a question that reads the whole table
# Where one of these fails, the others cannot be asked.
PREREQUISITES = frozenset({"connection", "extension", "migrations"})

_MIGRATE = "Run `python -m scripts.migrate`."


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the acceptance test.

    :param domain: None where the check is about the whole database.
    :param figure: what was found.
    :param advice: what to do about it; empty where it passed.
    """

    name: str
    passed: bool
    figure: str
    advice: str = ""
    domain: str | None = None

    def to_document(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        return asdict(self)


def check(name: str, passed: bool, figure: str, advice: str, domain: str | None = None) -> Check:
    """The line of a check; the advice is told only where it failed."""
    return Check(name, passed, figure, "" if passed else advice, domain)


class DatabaseChecks:
    """What can be asked of the database as a whole.

    :param spec: the spec in use.
    :param require_supported: raises StartupError where the versions are too old.
    :param require_migrated: raises StartupError where a migration is pending.
    """

    def __init__(
        self,
        database: Database,
        spec: EmbeddingSpec,
        require_supported: Callable[[], None],
        require_migrated: Callable[[], None],
    ) -> None:
        self._database = database
        self._spec = spec
        self._require_supported = require_supported
        self._require_migrated = require_migrated

    def run(self) -> Iterator[Check]:
        """The checks in order; none come after one of PREREQUISITES that failed."""
        for needed in (self._connection, self._versions, self._migrations):
            line = needed()
            yield line
            if not line.passed:
                return
        yield self._specs()
        yield self._none("orphans", sql.ORPHANS, "face(s) without a person or a spec", "Restore a backup.")
        yield self._duplicates()
        yield self._none("vectors", sql.UNUSABLE_VECTORS, "zero or not finite", "Embed these images again.")
        yield self._none("dimensions", sql.WRONG_DIMENSIONS, "unlike their spec's", "Embed these images again.")
        advice = "Add photos, or delete them: `python -m scripts.people list` shows them."
        yield self._none("persons", sql.PERSONS_WITHOUT_FACES, "person(s) without a face", advice)

    def _connection(self) -> Check:
        try:
            server, _ = self._ask(sql.VERSIONS)
        except AppError as error:
            return Check("connection", False, error.message, "Check DATABASE_URL and the server.")
        return Check("connection", True, f"Postgres {server}")

    def _versions(self) -> Check:
        try:
            self._require_supported()
        except AppError as error:
            return Check("extension", False, error.message, "Install what is missing.")
        _, pgvector = self._ask(sql.VERSIONS)
        advice = "Run `python -m scripts.migrate` as a user who may create extensions."
        return check("extension", pgvector is not None, f"pgvector {pgvector or 'is not in this database'}", advice)

    def _migrations(self) -> Check:
        try:
            self._require_migrated()
        except AppError as error:
            return Check("migrations", False, error.message, _MIGRATE)
        return Check("migrations", True, "the schema is up to date")

    def _specs(self) -> Check:
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.SPECS_BY_DOMAIN)
            foreign = [(domain, rows) for domain, key, rows in cursor.fetchall() if key != self._spec.key]
        figure = ", ".join(f"{domain}: {rows} faces of another spec" for domain, rows in foreign) or "one spec only"
        advice = "Embed these domains with the FACE_ settings in use, or delete what another spec has left."
        return check("spec", not foreign, figure, advice)

    def _duplicates(self) -> Check:
        (copies,), (shared,) = self._ask(sql.DUPLICATES), self._ask(sql.SHARED_VECTORS)
        figure = f"{copies} repeated face(s); {shared} vector(s) that two persons share"
        return check(
            "duplicates", copies == 0, figure, "Delete the repeated rows, then run REINDEX TABLE face_embeddings."
        )

    def _none(self, name: str, question: str, what: str, advice: str) -> Check:
        (count,) = self._ask(question)
        return check(name, count == 0, f"{count} {what}", advice)

    def _ask(self, question: str) -> tuple[Any, ...]:
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(question)
            return cursor.fetchone() or ()
