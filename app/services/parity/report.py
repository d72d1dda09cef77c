"""The report of parity: does pgvector answer as well as the PKL, and what speaks for it and against it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from app.errors import BadRequest
from app.services.parity.figures import FigureQuery, Figures, Rate, Tally, read_figures
from app.services.parity.gates import GateLimits, gates_of, verdict_of
from app.services.parity.records import JUDGEMENTS, Cause

if TYPE_CHECKING:
    from app.services.parity.parity_store import ParityStore

DEFAULT_SINCE = "7d"
_AGO = re.compile(r"(\d{1,5})\s*([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def parity_report(
    store: ParityStore,
    domain: str | None = None,
    since: datetime | None = None,
    gates: GateLimits | None = None,
    query: FigureQuery | None = None,
) -> dict[str, Any]:
    """The report as a JSON-serialisable document.

    :param domain: None for all.
    :param since: None for all that is kept.
    :param query: for a replay or one of its runs, in the place of `domain` and `since`.
    :raises StoreUnavailable: the database cannot be asked.
    """
    figures = read_figures(store, query or FigureQuery(domain, since))
    return report_of(figures, gates or GateLimits())


def report_of(figures: Figures, limits: GateLimits) -> dict[str, Any]:
    """The document of these figures."""
    gates, total, query = gates_of(figures, limits), figures.total, figures.query
    return {
        "verdict": verdict_of(gates),
        "domain": query.domain,
        "source": query.source,
        "run": query.run,
        "since": _iso(query.since),
        "until": _iso(datetime.now(UTC)),
        "first": _iso(figures.first),
        "last": _iso(figures.last),
        "gates": [gate.to_json() for gate in gates],
        "requests": total.requests,
        "top1": {"compared": total.compared, "matches": total.matches} | _interval(total.top1),
        "top5": {"overlap": total.overlap, "size": total.size, "rate": Rate(total.overlap, total.size).value},
        "flips": {"lost": total.lost, "gained": total.gained},
        "causes": {cause: figures.causes[cause] for cause in (*map(str, Cause), "pending")},
        "candidate_errors": {"asked": total.asked, "failed": total.failed},
        "latency": {"pkl": asdict(figures.pkl), "pgvector": asdict(figures.pgvector)},
        "domains": [_domain(name, tally) for name, tally in sorted(figures.by_domain.items())],
        "step": figures.step,
        "series": [_moment(at, tally) for at, tally in sorted(figures.by_time.items())],
        "judged": _judged(figures.judged),
        "lost": figures.lost,
    }


def parse_since(text: str, now: datetime | None = None) -> datetime:
    """The moment that is meant: `24h`, `7d` or `90m` ago, or a time in ISO 8601, UTC where it names no offset.

    :raises BadRequest: neither.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(text.strip())
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(
            "'since' is a time such as 2026-11-20T10:00, or how long ago: 24h, 7d.", code="invalid_since"
        ) from None


def _interval(rate: Rate) -> dict[str, float | None]:
    if rate.value is None:
        return {"rate": None, "low": None, "high": None}
    return {"rate": rate.value, "low": rate.low, "high": rate.high}


def _domain(name: str, tally: Tally) -> dict[str, Any]:
    counts = {"compared": tally.compared, "matches": tally.matches, "failed": tally.failed}
    flips = {"lost": tally.lost, "gained": tally.gained}
    return {"domain": name} | counts | _interval(tally.top1) | {"flips": flips}


def _moment(at: datetime, tally: Tally) -> dict[str, Any]:
    return {"at": _iso(at), "compared": tally.compared, "failed": tally.failed} | _interval(tally.top1)


def _judged(judged: Mapping[str, int]) -> dict[str, int]:
    return {judgement: judged.get(judgement, 0) for judgement in JUDGEMENTS}


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
