"""The console's page Recognise, and what its script asks: the pipeline of `/recognize`, with pictures of matches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask import Blueprint, render_template, request

from app.auth import Role
from app.errors import AppError, BadRequest
from app.routes import console_shell as shell
from app.routes.http import container

blueprint = Blueprint("recognise", __name__)
api = Blueprint("recognise", __name__)

_LISTS = ("recognized_faces", "pgvector_results", "pkl_results")


@blueprint.get("/recognise")
def page() -> str:
    """A place to drop a photo."""
    shell.signed_in(Role.RECOGNISE)
    return render_template("console/recognise.html", upload_max_mb=container().settings.upload_max_mb)


@api.post("/recognise")
def recognise() -> dict[str, Any]:
    """The answer of `/recognize`, and in `gallery_faces` the image -> face whose picture stands beside a match."""
    token, domain = shell.signed_in(Role.RECOGNISE), shell.domain()
    photo = request.files.get("image")
    if photo is None:
        raise BadRequest("Send the photo as the file field 'image' of a multipart form.", code="image_missing")
    answer = container().recognition_controller.recognize_face(photo.read(), domain)
    may_see = {Role.VIEW, Role.ENROL, Role.ADMIN} & set(token.roles)
    return answer | {"gallery_faces": _gallery_faces(domain, answer) if may_see else {}}


def _gallery_faces(domain: str, answer: Mapping[str, Any]) -> dict[str, int]:
    faces = [face for name in _LISTS for face in answer.get(name, ())]
    try:
        return container().console.faces.of_images(domain, sorted(_images(faces)))
    except AppError:
        return {}  # pictures are a comfort: the answer stands without them


def _images(faces: Iterable[Mapping[str, Any]]) -> set[str]:
    return {match["image"] for face in faces for match in face["matches"]}
