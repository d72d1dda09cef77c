"""Videos over HTTP (CONTRACT, part B): sent with the role `recognise`, seen with that or `view`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from flask import Blueprint, Flask, Response, current_app, g, request, url_for

from app.auth import Role, Token
from app.controllers.video_controller import Submission, VideoController
from app.errors import BadRequest
from app.routes import video_intake
from app.routes.http import container, current_token
from app.routes.places import Places
from app.routes.status_stream import StatusStreams
from app.routes.video_form import read_form
from app.services.video.job_records import JobScope, JobState
from app.services.video.uploads import MIB

blueprint = Blueprint("video", __name__, url_prefix="/v3")

MAX_PAGE = 200
MODES = ("face",)
STREAMS = "status_streams"

_MOST_URGENT = 100
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"", "false", "0", "no"})

Answer = dict[str, Any]


def install(app: Flask, web_threads: int) -> None:
    """Add the routes.

    :param web_threads: of a worker; half of them may be held by videos that arrive slowly and by streams.
    """
    places = Places(max(1, web_threads // 2))
    app.extensions[STREAMS] = StatusStreams(places)
    video_intake.install(app, places)
    app.register_blueprint(blueprint)


@blueprint.post("/process")
def process() -> tuple[Answer, int, dict[str, str]]:
    """Accept a video; form: `file`, `mode=face`, `domain`, `webhook_url`, `priority` for an admin.

    With the header `Idempotency-Key`, the same video sent again is the same job.
    """
    token, tenant = _caller(Role.RECOGNISE)
    with video_intake.answered_when_read():
        request.max_content_length = video_intake.max_bytes() + MIB  # the form around it is small
        key, controller = request.headers.get("Idempotency-Key"), _videos()
        controller.require_acceptable(tenant, key, request.content_length)
        with video_intake.one_of_the_uploads(), controller.receiving() as upload:
            fields = _form(upload.write)
            job, is_new = controller.submit(upload, _submission(token, tenant, fields, key))
    links = _links(job.job_id)
    answer = {"status": "success", "job_id": job.job_id, "state": str(job.state), "links": links}
    headers = {"Location": links["status"]}
    return (answer, 202, headers) if is_new else (answer, 200, headers | {"Idempotent-Replay": "true"})


@blueprint.get("/status/<job_id>")
def status(job_id: str) -> Answer:
    """State and progress of a job."""
    return _success(_videos().status(_viewer(), job_id))


@blueprint.get("/status/<job_id>/events")
def status_events(job_id: str) -> Response:
    """The same as server-sent events, until the job ends."""
    scope, controller = _viewer(), _videos()
    streams = cast(StatusStreams, current_app.extensions[STREAMS])
    return streams.response(lambda: controller.status(scope, job_id))


@blueprint.get("/results/<job_id>")
def results(job_id: str) -> Answer:
    """The identities of a video, once it is processed."""
    return _success(_videos().results(_viewer(), job_id))


@blueprint.get("/identity/<job_id>/<cluster_id>/profiles")
def profiles(job_id: str, cluster_id: str) -> Answer:
    """The profiles that an identity matches; query: `include_image`."""
    scope, cluster = _viewer(), _whole(cluster_id, "cluster_id", least=-1)
    return _success(_videos().profiles(scope, job_id, cluster, _flag("include_image")))


@blueprint.get("/crops/<job_id>/<name>")
def crop(job_id: str, name: str) -> Response:
    """A face's picture, a JPEG."""
    picture = _videos().crop(_viewer(), job_id, name)
    return Response(picture, mimetype="image/jpeg", headers={"Cache-Control": "private, no-store"})


@blueprint.get("/jobs")
def jobs() -> Answer:
    """The jobs of tenant and domains, newest first; query: `state`, `limit` (1 to 200, 50 by default), `offset`."""
    scope, state = _viewer(), request.args.get("state") or None
    if state is not None and state not in tuple(JobState):
        raise BadRequest(f"'state' is one of {', '.join(JobState)}.", code="invalid_state")
    limit = min(_whole(request.args.get("limit") or "50", "limit", least=1), MAX_PAGE)
    offset = _whole(request.args.get("offset") or "0", "offset", least=0)
    return _success(_videos().jobs(scope, JobState(state) if state else None, limit, offset))


@blueprint.post("/jobs/<job_id>/cancel")
def cancel(job_id: str) -> Answer:
    """End a job that waits or runs."""
    return _success(_videos().cancel(_scope(*_caller(Role.RECOGNISE)), job_id))


@blueprint.delete("/jobs/<job_id>")
def delete(job_id: str) -> Answer:
    """Remove a job with all that belongs to it; the receipt."""
    token, tenant = _caller(Role.RECOGNISE)
    return _success({"receipt": _videos().delete(_scope(token, tenant), job_id, token.id)})


def _videos() -> VideoController:
    return container().video_controller


def _success(document: Answer) -> Answer:
    return {"status": "success"} | document


def _viewer() -> JobScope:
    return _scope(*_caller(Role.RECOGNISE, Role.VIEW))


def _scope(token: Token, tenant: str) -> JobScope:
    return JobScope(tenant, token.allowed_domains)


def _caller(*roles: Role) -> tuple[Token, str]:
    """The token, and the tenant whose videos the request is about."""
    token = current_token()
    token.require(*roles)
    return token, token.tenant_for(request.headers.get("X-Tenant-Id"))


def _links(job_id: str) -> dict[str, str]:
    return {
        "status": url_for("video.status", job_id=job_id),
        "events": url_for("video.status_events", job_id=job_id),
        "results": url_for("video.results", job_id=job_id),
        "cancel": url_for("video.cancel", job_id=job_id),
    }


# --- the upload


def _form(write: Callable[[bytes], None]) -> dict[str, str]:
    fields = read_form(request, write)
    mode = fields.get("mode") or MODES[0]
    if mode not in MODES:
        raise BadRequest(f"'mode' is one of {', '.join(MODES)}.", code="invalid_mode")
    return fields


def _submission(token: Token, tenant: str, fields: dict[str, str], key: str | None) -> Submission:
    return Submission(
        tenant_id=tenant,
        domain=token.domain(fields.get("domain") or request.args.get("domain")),
        request_id=g.request_id,
        created_by=token.id,
        priority=_priority(token, fields.get("priority", "")),
        webhook_url=fields.get("webhook_url") or None,
        idempotency_key=key,
    )


def _priority(token: Token, text: str) -> int:
    if not text:
        return 0
    token.require(Role.ADMIN)
    return min(_whole(text, "priority", least=0), _MOST_URGENT)


# --- values


def _whole(text: str, name: str, least: int) -> int:
    """:raises BadRequest: no whole number, or less than the least."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9) or int(text) < least:  # noqa: PLR2004
        raise BadRequest(f"'{name}' is a whole number, {least} or more.", code=f"invalid_{name}")
    return int(text)


def _flag(name: str) -> bool:
    text = request.args.get(name, "").lower()
    if text not in _TRUE | _FALSE:
        raise BadRequest(f"'{name}' is true or false.", code=f"invalid_{name}")
    return text in _TRUE
