"""What the comparisons of a time say in numbers: counted in the database, added up here."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import BadRequest
from app.services.parity import figures_sql as sql
from app.services.parity.records import Source

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor
    from app.services.parity.parity_store import ParityStore

Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution
HOURLY_UP_TO = timedelta(days=8)  # longer times are shown by day
_LIMIT_S = 30.0
_RUN_NAME = re.compile(r"[A-Za-z0-9.-]{1,40}")  # no wildcard of LIKE


@dataclass(frozen=True, slots=True)
class FigureQuery:
    """Which comparisons are counted.

    :param domain: None for all.
    :param since: None for all that are kept.
    :param run: of a replay; None for all.
    :param spec_key: what another pipeline's embeddings showed proves nothing for this one; None for all.
    """

    domain: str | None = None
    since: datetime | None = None
    source: Source = "live"
    run: str | None = None
    spec_key: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of comparisons with its 95 % confidence interval.

    The interval is E. B. Wilson's score interval (JASA 22, 1927), which holds near 100 % and for few comparisons too.
    """

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        return self.hits / self.of if self.of else None

    @property
    def low(self) -> float:
        """The interval's lower end; 0 where nothing was compared."""
        return self._bound(-1.0)

    @property
    def high(self) -> float:
        """The interval's upper end; 1 where nothing was compared."""
        return self._bound(1.0)

    def _bound(self, sign: float) -> float:
        if not self.of:
            return max(sign, 0.0)
        n, share, z2 = self.of, self.hits / self.of, Z_95**2
        spread = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return min(1.0, max(0.0, (share + z2 / (2 * n) + sign * spread) / (1 + z2 / n)))


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of some comparisons.

    :param requests: all of them; :param compared: those that both galleries answered.
    :param overlap, size: of the five best persons, summed over faces: named by both, and named at all.
    :param asked: requests that the PKL answered, pgvector being asked beside it; :param failed: without an answer.
    """

    requests: int = 0
    compared: int = 0
    matches: int = 0
    overlap: int = 0
    size: int = 0
    lost: int = 0
    gained: int = 0
    asked: int = 0
    failed: int = 0

    @property
    def top1(self) -> Rate:
        return Rate(self.matches, self.compared)

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """All of them together."""
        listed = list(tallies)
        return cls(**{f.name: sum(getattr(tally, f.name) for tally in listed) for f in fields(cls)})


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a gallery took, in milliseconds; None where nothing was measured."""

    measured: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None

    @classmethod
    def of(cls, counted: Iterable[tuple[float, int]]) -> Latency:
        """The percentiles of times that were counted, interpolated as percentile_cont does.

        :param counted: (milliseconds, how often).
        """
        times = sorted(counted)
        if not times:
            return cls()
        values = np.array([ms for ms, _ in times])
        ends = np.cumsum([count for _, count in times])
        places = np.array([0.5, 0.95, 0.99]) * (ends[-1] - 1)
        below, above = (values[np.searchsorted(ends, each(places), side="right")] for each in (np.floor, np.ceil))
        found = below + (above - below) * (places - np.floor(places))
        return cls(int(ends[-1]), *(round(float(ms), 2) for ms in found))


@dataclass(frozen=True, slots=True)
class Figures:
    """What a report is written from.

    :param causes: by `Cause`, and `pending` for differences whose cause is not known yet.
    :param judged: by whom a person said to be right.
    :param unseen: differences at which neither the search for causes nor a person has looked.
    :param by_domain: counts of each domain; :param by_time: of each step, in order.
    :param step: `hour` or `day`.
    """

    query: FigureQuery
    first: datetime | None = None
    last: datetime | None = None
    step: str = "hour"
    by_domain: dict[str, Tally] = field(default_factory=dict)
    by_time: dict[datetime, Tally] = field(default_factory=dict)
    causes: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    unseen: int = 0
    pkl: Latency = Latency()
    pgvector: Latency = Latency()
    lost: int = 0

    @property
    def total(self) -> Tally:
        return Tally.total(self.by_domain.values())

    @property
    def hours(self) -> float:
        """From the first comparison to the last, to a tenth."""
        if self.first is None or self.last is None:
            return 0.0
        return round((self.last - self.first) / timedelta(hours=1), 1)


def read_figures(store: ParityStore, query: FigureQuery) -> Figures:
    """Count the comparisons, all at one moment.

    :raises BadRequest: the run's name cannot be one.
    :raises StoreUnavailable: the database cannot be asked.
    """
    with store.database.transaction(_LIMIT_S, read_only=True) as cursor:
        cursor.execute(sql.SNAPSHOT)
        found = _Reader(cursor, query)
        first, last = found.rows(sql.BOUNDS)[0]
        step = "hour" if first is None or last - first <= HOURLY_UP_TO else "day"
        tallies = found.rows(sql.TALLIES)
        differences = found.rows(sql.DIFFERENCES)
        pkl, pgvector = found.rows(sql.TIMES_OF_PKL), found.rows(sql.TIMES_OF_PGVECTOR)
    return Figures(
        query,
        _utc(first),
        _utc(last),
        step,
        by_domain=_by([(row[0], row[2:]) for row in tallies]),
        by_time=_by([(_step_of(row[1], step), row[2:]) for row in tallies]),
        causes=_counted((cause, count) for cause, _, count in differences),
        judged=_counted((judged, count) for _, judged, count in differences if judged),
        unseen=sum(count for cause, judged, count in differences if cause == "pending" and not judged),
        pkl=Latency.of(pkl),
        pgvector=Latency.of(pgvector),
        lost=store.lost([query.domain] if query.domain else None, query.since) if query.source == "live" else 0,
    )


def request_ids_of_run(store: ParityStore, domain: str, run: str) -> set[str]:
    """The request ids of the photos that this run of a replay has compared.

    :raises BadRequest: the run's name cannot be one.
    """
    with store.database.transaction(_LIMIT_S, read_only=True) as cursor:
        cursor.execute(sql.RUN, {"domain": domain, "run": f"{run_prefix(run)}%"})
        return {request_id for (request_id,) in cursor.fetchall()}


def run_prefix(run: str) -> str:
    """What the request ids of a run begin with.

    :raises BadRequest: the run's name cannot be one.
    """
    if not _RUN_NAME.fullmatch(run):
        raise BadRequest("A run's name is 1 to 40 letters, digits, '-' or '.'.", code="invalid_run")
    return f"replay:{run}:"


class _Reader:
    """Asks for one query's figures."""

    def __init__(self, cursor: Cursor, query: FigureQuery) -> None:
        self._cursor = cursor
        run = f"{run_prefix(query.run)}%" if query.run else None
        self._where = sql.WHERE + (sql.OF_RUN if run else "")
        self._parameters = {
            "source": query.source,
            "domain": query.domain,
            "since": query.since,
            "spec_key": query.spec_key,
            "run": run,
        }

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        self._cursor.execute(statement.format(where=self._where), self._parameters)
        return self._cursor.fetchall()


def _by(rows: Iterable[tuple[Any, Sequence[int]]]) -> dict[Any, Tally]:
    found: dict[Any, list[Tally]] = {}
    for key, counts in rows:
        found.setdefault(key, []).append(Tally(*map(int, counts)))
    return {key: Tally.total(tallies) for key, tallies in found.items()}


def _counted(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    counts = Counter[str]()
    for name, count in pairs:
        counts[name] += count
    return counts


def _step_of(hour: datetime, step: str) -> datetime:
    at = hour.astimezone(UTC)
    return at if step == "hour" else at.replace(hour=0)


def _utc(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC) if at else None
