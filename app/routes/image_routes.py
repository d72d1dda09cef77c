"""Uploads in, recognised faces out: `/recognize` and `/recognize-pgvector-test`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, current_app, request

from app.auth import Role, Token
from app.domain import Mode
from app.errors import BadRequest
from app.routes.http import container, current_token, timed
from app.timing import stage

blueprint = Blueprint("image", __name__)


@blueprint.post("/recognize")
def recognize_face() -> dict[str, Any]:
    """Recognise the faces of the photo in the form's file field `image`, in the mode that is set."""
    return _answer(container().settings.mode, container().recognition_controller.recognize_face)


@blueprint.post("/recognize-pgvector-test")
def recognize_face_pgvector_test() -> dict[str, Any]:
    """The same with the pgvector gallery alone, whatever the mode, for testers."""
    return _answer(Mode.PGVECTOR, container().recognition_controller.recognize_face_pgvector_test)


def _answer(mode: Mode, recognise: Callable[[bytes, str], dict[str, Any]]) -> dict[str, Any]:
    token = current_token()
    token.require(Role.RECOGNISE)
    turns = container().turns
    with timed("recognize", mode=str(mode)) as facts:
        turns.require_room()
        with stage("upload"):
            facts["domain"], image_bytes = _upload(token)
        with turns.turn():
            answer = recognise(image_bytes, facts["domain"])
        facts["faces"] = len(answer["recognized_faces"])
        return answer


def _upload(token: Token) -> tuple[str, bytes]:
    domain = token.domain(request.form.get("domain") or request.args.get("domain"))
    files = request.files.getlist("image")
    if not files:
        raise BadRequest("Send the photo as the file field 'image' of a multipart form.", code="image_missing")
    if len(files) > 1:
        raise BadRequest("Send one photo a request.", code="too_many_images")
    image_bytes = files[0].read()
    current_app.logger.debug("upload of %d bytes", len(image_bytes))
    return domain, image_bytes
