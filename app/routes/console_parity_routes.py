"""The console's pages of parity: whether pgvector may answer, where the galleries differ, and who was right."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.auth import Role
from app.errors import AppError
from app.routes import console_shell as shell
from app.routes.console_parity_filters import CAUSES, CHOICES, EVER, PERIODS, Filters, asked_filters, asked_page
from app.routes.http import container
from app.services.parity import charts, wording
from app.services.parity.html_report import VERDICT_SENTENCES, count, html_report, moment, percent, plots_of
from app.services.parity.parity_store import ParityStore
from app.services.parity.records import StoredComparison
from app.services.parity.report import parse_since

blueprint = Blueprint("parity", __name__, url_prefix="/parity")
for _filter in (percent, moment, count):
    blueprint.add_app_template_filter(_filter)

PAGE_ROWS = 50
LATEST_ROWS = 6
_LARGEST_ID = 2**63 - 1
JUDGED = {"pkl": "PKL", "pgvector": "pgvector", "both": "Both", "neither": "Neither"}

Document = dict[str, Any]


@blueprint.get("/")
def overview() -> str:
    """The verdict with all that speaks for it and against it."""
    domain, filters = shell.scope(Role.VIEW).domain, asked_filters()
    report = _report(domain, filters)
    return render_template(
        "console/parity.html",
        report=report,
        sentence=VERDICT_SENTENCES[report["verdict"]],
        gates=[wording.gate_in_words(gate) for gate in report["gates"]],
        plots=plots_of(report),
        latest=_store().comparisons(filters.query(domain, limit=LATEST_ROWS)),
        **_choices(filters),
    )


@blueprint.get("/report.html")
def report_file() -> Response:
    """The report as one file, to be mailed."""
    domain = shell.scope(Role.VIEW).domain
    answer = Response(html_report(_report(domain, asked_filters())), mimetype="text/html")
    answer.headers.set(
        "Content-Disposition", "attachment", filename=f"parity-{domain}-{datetime.now(UTC):%Y-%m-%d}.html"
    )
    return answer


@blueprint.get("/differences/")
def differences() -> str:
    """Where the galleries differed, newest first, a page at a time."""
    domain, filters, before = shell.scope(Role.VIEW).domain, asked_filters(), asked_page()
    found = _store().comparisons(filters.query(domain, before, limit=PAGE_ROWS + 1))
    rows, more = found[:PAGE_ROWS], len(found) > PAGE_ROWS
    return render_template(
        "console/parity_differences.html",
        rows=rows,
        before=before,
        older=rows[-1].id if more else None,
        choices=CHOICES,
        **_choices(filters),
    )


@blueprint.get("/differences/<int:comparison_id>")
def difference(comparison_id: int) -> str:
    """Both answers about a photo, why they differ, and who was right."""
    domain, filters = shell.scope(Role.VIEW).domain, asked_filters()
    row = _comparison(domain, comparison_id)
    return render_template(
        "console/parity_difference.html",
        row=row,
        seen=wording.seen(row),
        meaning=wording.meaning(row),
        failure=wording.failure(row),
        pictures=_pictures(row),
        next_id=_next_unjudged(row, filters),
        tell_difference=wording.difference,
        **_choices(filters),
    )


@blueprint.post("/differences/<int:comparison_id>/judgement")
def judge(comparison_id: int) -> BaseResponse:
    """Note who was right: `judged` is `pkl`, `pgvector`, `both` or `neither`."""
    shell.signed_in(Role.VIEW)
    asked, filters = shell.scope(Role.ENROL), asked_filters()
    judged = request.form.get("judged", "")
    _store().judge(min(comparison_id, _LARGEST_ID), asked.domain, judged, asked.actor)
    shell.notify(f"Noted, and counted in the report. Who was right: {JUDGED[judged]}.")
    place = {"comparison_id": comparison_id, "focus": "next"}
    return redirect(url_for("console.parity.difference", **filters.arguments() | place))


def _report(domain: str, filters: Filters) -> Document:
    return container().parity_report(domain, None if filters.since == EVER else parse_since(filters.since))


def _choices(filters: Filters) -> Document:
    """What every page of parity needs to name things and to link to the others."""
    return {
        "filters": filters,
        "carried": filters.arguments(),
        "periods": PERIODS,
        "causes": CAUSES,
        "readable": charts.readable,
        "judgements": JUDGED,
        "answering": container().settings.vector_db_primary,
    }


def _comparison(domain: str, comparison_id: int) -> StoredComparison:
    return _store().comparison(min(comparison_id, _LARGEST_ID), (domain,))


def _next_unjudged(row: StoredComparison, filters: Filters) -> int | None:
    """The next older difference of the same filter that nobody has judged, else the newest one."""
    for before in (row.id, None):
        found = _store().comparisons(filters.query(row.domain, before, judged=False, limit=2))
        others = [other.id for other in found if other.id != row.id]
        if others:
            return others[0]
    return None


def _pictures(row: StoredComparison) -> dict[str, int]:
    """Image -> the face whose picture stands beside a match; none where the pictures cannot be had."""
    matches = [match for face in row.details for side in ("pkl", "pgvector") for match in face[side]]
    seen = [person.image for face in wording.seen(row).values() for person in face.persons]
    images = {match["image"] for match in matches} | set(seen)
    try:
        return container().console.faces.of_images(row.domain, sorted(image for image in images if image))
    except AppError:
        return {}  # pictures are a comfort: the page stands without them


def _store() -> ParityStore:
    return container().parity_store
