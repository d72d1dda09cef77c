"""What the pages of videos ask by script: a video on its way in, how far a job is, and pictures of faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from flask import Blueprint, Response, current_app, g, request, url_for

from app.auth import Role
from app.controllers.video_controller import Submission
from app.errors import BadRequest, NotFound
from app.routes import console_shell as shell
from app.routes.http import container
from app.routes.status_stream import StatusStreams
from app.routes.video_intake import answered_when_read, max_bytes, one_of_the_uploads
from app.routes.video_routes import STREAMS
from app.services.video import wording
from app.services.video.job_records import JobScope
from app.services.video.uploads import video_too_large

api = Blueprint("videos", __name__)
api.url_defaults(shell.keep_tenant)

_SEND = "console_api.videos.send"
_CHUNK = 256 * 1024
_PICTURE_KEPT_S = 600  # by the browser of whoever may see it; not longer, because a video may be deleted

Answer = dict[str, Any]


def prepare() -> None:
    """Before anything looks for a form in a video: a video is the body itself, and may be larger than a photo.

    :raises BadRequest: code `video_missing`: the body is something else.
    :raises TooLarge: code `video_too_large`.
    """
    if request.endpoint != _SEND:
        return
    with answered_when_read():
        if not request.mimetype.startswith("video/") and request.mimetype != "application/octet-stream":
            raise BadRequest("Send the video as the body of the request.", code="video_missing")
        if (request.content_length or 0) > max_bytes():
            raise video_too_large(max_bytes())
        request.max_content_length = max_bytes()


@api.post("/videos")
def send() -> tuple[Answer, int]:
    """Accept a video: the request's body, with its own type or `application/octet-stream`."""
    token, tenant = shell.signed_in(Role.RECOGNISE), shell.tenant()
    submission = Submission(tenant, shell.domain(), g.request_id, token.id)
    controller = container().video_controller
    with answered_when_read():
        controller.require_acceptable(tenant, None, request.content_length)
        with one_of_the_uploads(), controller.receiving() as upload:
            while chunk := request.stream.read(_CHUNK):
                upload.write(chunk)
            job, _ = controller.submit(upload, submission)
    return {"job_id": job.job_id, "page": url_for("console.videos.video", job_id=job.job_id)}, 202


@api.get("/videos/<job_id>")
def status(job_id: str) -> Answer:
    """How far a job is, in figures and in words."""
    return _in_words(container().video_controller.status(_viewer(), job_id))


@api.get("/videos/<job_id>/events")
def events(job_id: str) -> Response:
    """The same as server-sent events, until the job ends."""
    scope, controller = _viewer(), container().video_controller
    streams = cast(StatusStreams, current_app.extensions[STREAMS])
    return streams.response(lambda: _in_words(controller.status(scope, job_id)))


@api.get("/videos/<job_id>/crops/<name>")
def crop(job_id: str, name: str) -> Response:
    """A face of a video."""
    return _picture(container().video_controller.crop(_viewer(), job_id, name))


@api.get("/videos/<job_id>/photo")
def photo(job_id: str) -> Response:
    """The photo of a profile that the video's identities match; query: `key`.

    :raises NotFound: no such photo, or it could not be had in time.
    """
    key, search = request.args.get("key", ""), container().profile_search
    job = container().videos.job_store.get(_viewer(), job_id)
    is_ours = search is not None and container().console.videos.has_profile_photo(job, key)
    found = search.photos([key]).get(key) if search is not None and is_ours else None
    if found is None:
        raise NotFound("This photo cannot be had.", code="photo_unknown")
    return _picture(found)


def _viewer() -> JobScope:
    return shell.job_scope(Role.RECOGNISE, Role.VIEW)


def _in_words(status: Mapping[str, Any]) -> Answer:
    percent, stage = status["percent"], status["stage"]
    told = {name: status[name] for name in ("state", "stage", "percent", "frames_done", "frames_total", "faces")}
    words = {"stage_words": wording.STAGES.get(stage, ""), "percent_words": f"{percent:.0f} %"}
    return told | words | {"left": wording.time_left(status["seconds_left"])}


def _picture(content: bytes) -> Response:
    """`nosniff` keeps whatever else an operator's store holds from being more than a broken picture."""
    kind = "image/webp" if content[8:12] == b"WEBP" else "image/jpeg"
    return Response(content, mimetype=kind, headers={"Cache-Control": f"private, max-age={_PICTURE_KEPT_S}"})
