"""The evidence for the cutover over HTTP: seen with the role `view`, judged with the role `enrol`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from flask import Blueprint, request

from app.auth import ALL_DOMAINS, Role, Token
from app.errors import BadRequest
from app.routes.http import container, current_token
from app.services.parity.figures import FigureQuery
from app.services.parity.records import Cause, ComparisonQuery, StoredComparison, Verdict
from app.services.parity.report import DEFAULT_SINCE, parse_since

blueprint = Blueprint("parity", __name__)

PAGE_ROWS = 50
DISCREPANCIES = (Verdict.DIFFER, Verdict.CANDIDATE_FAILED)
_YES_NO = {"": None, "true": True, "false": False}
_LARGEST_ID = 2**63 - 1

Answer = dict[str, Any]


@blueprint.get("/parity/report")
def report() -> Answer:
    """The report of a domain; query: `domain`, `since` (7d by default), `source` (`live` or `replay`).

    Of a token for all domains, without `domain`: of all together, and each in `domains`.
    """
    token, named = _viewer(), request.args.get("domain") or None
    domain = None if named is None and ALL_DOMAINS in token.domains else token.domain(named)
    source = _one_of("source", ("live", "replay")) or "live"
    query = FigureQuery(domain, _since(DEFAULT_SINCE), "replay" if source == "replay" else "live")
    return _success({"report": container().parity_report(query=query)})


@blueprint.get("/parity/comparisons")
def comparisons() -> Answer:
    """A domain's discrepancies, newest first; query: `domain`, `verdict`, `cause`, `judged`, `since`, `page`."""
    domain = _viewer().domain(request.args.get("domain"))
    verdict = _one_of("verdict", tuple(Verdict))
    query = ComparisonQuery(
        domains=(domain,),
        verdicts=(verdict,) if verdict else DISCREPANCIES,
        since=_since(None),
        cause=_one_of("cause", (*Cause, "pending")),
        judged=_YES_NO[_one_of("judged", ("true", "false")) or ""],
        before_id=_page(),
        limit=PAGE_ROWS + 1,
    )
    found = container().parity_store.comparisons(query)
    page, more = found[:PAGE_ROWS], len(found) > PAGE_ROWS
    return _success({"comparisons": [_document(row) for row in page], "next_page": str(page[-1].id) if more else None})


@blueprint.get("/parity/comparisons/<int:comparison_id>")
def comparison(comparison_id: int) -> Answer:
    """One comparison, with the proof of its cause."""
    return _success({"comparison": _document(_comparison(_viewer(), comparison_id))})


@blueprint.post("/parity/comparisons/<int:comparison_id>/judgement")
def judge(comparison_id: int) -> Answer:
    """Say who was right: `judged` is `pkl`, `pgvector`, `both` or `neither`."""
    token = _viewer()
    token.require(Role.ENROL)
    row = _comparison(token, comparison_id)
    container().parity_store.judge(row.id, row.domain, _judgement(), token.id)
    return _success({"comparison": _document(_comparison(token, comparison_id))})


def _viewer() -> Token:
    token = current_token()
    token.require(Role.VIEW)
    return token


def _comparison(token: Token, comparison_id: int) -> StoredComparison:
    domains = None if ALL_DOMAINS in token.domains else token.domains
    return container().parity_store.comparison(min(comparison_id, _LARGEST_ID), domains)


def _document(row: StoredComparison) -> Answer:
    times = {"at": row.at.isoformat(), "judged_at": row.judged_at.isoformat() if row.judged_at else None}
    return asdict(row) | times


def _judgement() -> str:
    body = request.get_json(silent=True) if request.is_json else None
    return str(body.get("judged", "") if isinstance(body, dict) else request.form.get("judged", ""))


def _since(default: str | None) -> datetime | None:
    text = request.args.get("since") or default
    return parse_since(text) if text else None


def _one_of(field: str, known: tuple[str, ...]) -> str | None:
    value = request.args.get(field) or None
    if value is not None and value not in known:
        raise BadRequest(f"'{field}' is one of {', '.join(known)}.", code=f"invalid_{field}")
    return value


def _page() -> int | None:
    """:raises BadRequest: not what an answer gave as `next_page`."""
    text = request.args.get("page") or ""
    if text and not (text.isascii() and text.isdigit() and int(text[:20]) <= _LARGEST_ID):
        raise BadRequest("'page' is what the page before gave as 'next_page'.", code="invalid_page")
    return int(text) if text else None


def _success(document: Answer) -> Answer:
    return {"status": "success"} | document
