"""Uploads in, recognised faces out: `/recognize` and `/recognize-pgvector-test`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, request

from app.auth import Role
from app.errors import BadRequest
from app.routes.http import container, current_token

blueprint = Blueprint("image", __name__)


@blueprint.post("/recognize")
def recognize_face() -> dict[str, Any]:
    """Recognise the faces of the photo in the form's file field `image`, in the mode that is set."""
    domain, image_bytes = _upload()
    return container().recognition_controller.recognize_face(image_bytes, domain)


@blueprint.post("/recognize-pgvector-test")
def recognize_face_pgvector_test() -> dict[str, Any]:
    """The same with the pgvector gallery alone, whatever the mode, for testers."""
    domain, image_bytes = _upload()
    return container().recognition_controller.recognize_face_pgvector_test(image_bytes, domain)


def _upload() -> tuple[str, bytes]:
    token = current_token()
    token.require(Role.RECOGNISE)
    domain = token.domain(request.form.get("domain") or request.args.get("domain"))
    files = request.files.getlist("image")
    if not files:
        raise BadRequest("Send the photo as the file field 'image' of a multipart form.", code="image_missing")
    if len(files) > 1:
        raise BadRequest("Send one photo a request.", code="too_many_images")
    image_bytes = files[0].read()
    current_app.logger.debug("upload of %d bytes", len(image_bytes))
    return domain, image_bytes
