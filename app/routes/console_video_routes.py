"""The console's pages of videos: which there are, how far they are, and whom they show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from app.auth import ALL_TENANTS, DEFAULT_TENANT, Role
from app.errors import AppError, Conflict
from app.routes import console_shell as shell
from app.routes.http import container
from app.services.video import wording
from app.services.video.job_records import Job, JobScope, JobState

blueprint = Blueprint("videos", __name__, url_prefix="/videos")
blueprint.url_defaults(shell.keep_tenant)
for _filter in (wording.clock, wording.size, wording.time_left):
    blueprint.add_app_template_filter(_filter)

PAGE_SIZE = 20
FACES_SHOWN = 4  # of a video in the list

_LOOK = (Role.RECOGNISE, Role.VIEW)
_MAX_OFFSET = 10**9
_RECEIPT = "video_receipt"

Document = dict[str, Any]


@blueprint.get("/")
def listing() -> str:
    """The tenant's videos, newest first, a page at a time."""
    return render_template("console/videos.html", **_page(), tenants=_tenants(), max_mb=_max_mb())


@blueprint.get("/rows")
def rows() -> str:
    """The part of it that changes, for the page to refresh itself."""
    return render_template("console/video_rows.html", **_page())


@blueprint.get("/<job_id>")
def video(job_id: str) -> str:
    """One video: how far it is, or whom it shows."""
    scope = shell.job_scope(*_LOOK)
    job = container().videos.job_store.get(scope, job_id)
    shown = {"job": job, "status": job.to_document(), "tenant": job.tenant_id}
    common = shown | {"words": wording, "may_send": _may_send()}
    if job.state is not JobState.DONE:
        return render_template("console/video.html", **common, results=None)
    return render_template("console/video.html", **common, **_found(job, scope))


@blueprint.post("/<job_id>/cancel")
def cancel(job_id: str) -> Response:
    """End a job that waits or runs."""
    scope = shell.job_scope(Role.RECOGNISE)
    try:
        ended = container().video_controller.cancel(scope, job_id)
    except Conflict as error:
        shell.notify(error.message, kind="bad")
    else:
        waited = ended["state"] == JobState.CANCELLED
        shell.notify("The video was cancelled." if waited else "The video is told to stop, and ends in a moment.")
    return redirect(url_for("console.videos.video", job_id=job_id))


@blueprint.post("/<job_id>/delete")
def delete(job_id: str) -> Response:
    """Remove a video with all that was found in it; the receipt follows."""
    scope = shell.job_scope(Role.RECOGNISE)
    session[_RECEIPT] = container().video_controller.delete(scope, job_id, shell.signed_in().id)
    return redirect(url_for("console.videos.receipt"))


@blueprint.get("/receipt")
def receipt() -> str | Response:
    """What was removed of the video that was deleted last in this session."""
    tenant, found = shell.tenant(*_LOOK), session.get(_RECEIPT)
    if found is None:
        return redirect(url_for("console.videos.listing"))
    return render_template("console/video_receipt.html", receipt=found, tenant=tenant, actor=shell.signed_in().id)


def _page() -> Document:
    scope = shell.job_scope(*_LOOK)
    offset = min(max(request.args.get("offset", 0, type=int), 0), _MAX_OFFSET)
    jobs, total = container().videos.job_store.page(scope, None, PAGE_SIZE, offset)
    covers = container().console.videos.covers(scope, [job.job_id for job in jobs])
    shown = {"jobs": jobs, "total": total, "offset": offset, "page_size": PAGE_SIZE, "covers": covers}
    return shown | {"tenant": scope.tenant_id, "words": wording, "faces_shown": FACES_SHOWN, "may_send": _may_send()}


def _tenants() -> list[str]:
    """Between whom somebody may choose who sees everybody's videos; empty for all others."""
    token = shell.signed_in()
    if token.tenant != ALL_TENANTS:
        return []
    found = container().console.videos.tenants(JobScope(None, token.allowed_domains))
    return sorted({*found, shell.tenant(), DEFAULT_TENANT})


def _max_mb() -> int:
    return container().settings.video_max_mb


def _may_send() -> bool:
    return bool({Role.RECOGNISE, Role.ADMIN} & set(shell.signed_in().roles))


def _found(job: Job, scope: JobScope) -> Document:
    """What a page says of a video that is done."""
    results = container().video_controller.results(scope, job.job_id)
    identities = results["identities"]
    linked = {link["job_id"] for identity in identities for link in identity["links"]}
    ends = [seen["end_s"] for identity in identities for seen in identity["timeline"]]
    return {
        "results": results,
        "persons": [identity for identity in identities if identity["cluster_id"] >= 0],
        "outliers": [identity for identity in identities if identity["cluster_id"] < 0],
        "others": container().console.videos.covers(scope, linked),
        "gallery_faces": _gallery_faces(job, identities),
        "length_s": max([job.facts.duration_s, *ends]) or 1.0,
        "model": _model(job),
        "photos": container().profile_search is not None,
    }


def _model(job: Job) -> str | None:
    """The model that the video was looked at with; None where another one is set by now."""
    spec = container().engine.spec
    return spec.model if spec.key == job.spec_key else None


def _gallery_faces(job: Job, identities: Iterable[Document]) -> dict[str, int]:
    """Image -> the face whose picture stands beside a name; for those only who may see the job's gallery."""
    may_see = {Role.VIEW, Role.ENROL, Role.ADMIN} & set(shell.signed_in().roles) and job.domain in shell.domains()
    images = {match["image"] for identity in identities for match in identity["matches"]} if may_see else set()
    try:
        return container().console.faces.of_images(job.domain, sorted(image for image in images if image))
    except AppError:
        return {}  # pictures are a comfort: the page stands without them
