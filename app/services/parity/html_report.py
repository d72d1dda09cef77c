"""The report as one file that can be mailed: no script, no other file, no other host; it names no person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.services.parity import charts
from app.services.parity.match_rate_chart import match_rate_chart

_TEMPLATES = Path(__file__).parent / "templates"

GATE_TITLES = {
    "comparisons": "Enough comparisons",
    "hours": "Over enough time",
    "match_rate": "Same best person",
    "unexplained": "Differences explained",
    "examined": "Differences examined",
    "candidate_errors": "pgvector always answers",
    "latency": "pgvector is faster",
}
VERDICT_SENTENCES = {
    "ready": "Every gate is passed: pgvector may answer.",
    "not ready": "pgvector must not answer yet: a gate has failed.",
    "not enough evidence": "Nothing speaks against pgvector so far, and too little is known to say more.",
}


def html_report(report: Mapping[str, Any]) -> str:
    """The page.

    :param report: the document of `parity_report`.
    """
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"percent": percent, "count": count, "moment": moment}
    page = environment.get_template("report.html")
    sentence = VERDICT_SENTENCES[report["verdict"]]
    return page.render(report=report, plots=plots_of(report), titles=GATE_TITLES, sentence=sentence)


def plots_of(report: Mapping[str, Any]) -> dict[str, Markup]:
    """The report's drawings: `match_rate`, `causes` and `latency`.

    :param report: the document of `parity_report`.
    """
    wanted = next(gate["wanted"] for gate in report["gates"] if gate["name"] == "match_rate")
    # The drawings are text of ours in which everything foreign is escaped already.
    return {
        "match_rate": Markup(match_rate_chart(report["series"], wanted, report["step"])),  # noqa: S704
        "causes": Markup(charts.causes_chart(report["causes"])),  # noqa: S704
        "latency": Markup(charts.latency_chart(report["latency"])),  # noqa: S704
    }


def percent(share: float | None, decimals: int = 2) -> str:
    """`98.40 %`, or a dash where there is nothing to say."""
    return "-" if share is None else f"{100 * share:.{decimals}f} %"


def moment(text: str | None) -> str:
    """`20 Nov 2026, 10:00 UTC` of an ISO time."""
    if text is None:
        return "-"
    at = datetime.fromisoformat(text).astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def count(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"
