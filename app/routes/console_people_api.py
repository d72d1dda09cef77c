"""What the pages of people ask by script: photos on their way in, one at a time, and pictures of faces."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from app.auth import Role
from app.errors import BadRequest
from app.routes import console_shell as shell
from app.routes.http import container

api = Blueprint("people", __name__)

_PICTURE_KEPT_S = 600  # by the browser of whoever may see it; not longer, because a person may be deleted

Answer = dict[str, Any]


@api.post("/persons")
def add() -> tuple[Answer, int]:
    """A new person, known by one photo; form: `name`, `image`, `force` for an admin."""
    asked, name = shell.scope(Role.ENROL), request.form.get("name", "")
    return container().person_controller.add(asked, name, _photo(), _is_forced()), 201


@api.post("/persons/<int:person_id>/photos")
def add_photo(person_id: int) -> tuple[Answer, int]:
    """One more photo of a person; form: `image`, `force` for an admin."""
    asked = shell.scope(Role.ENROL)
    return container().person_controller.add_photos(asked, person_id, _photo(), _is_forced()), 201


@api.get("/faces/<int:face_id>.jpg")
def face(face_id: int) -> Response:
    """A face, cut out of its photo."""
    picture = container().console.faces.jpeg(shell.scope(Role.VIEW, Role.ENROL).domain, face_id)
    caching = {"Cache-Control": f"private, max-age={_PICTURE_KEPT_S}"}
    return Response(picture, mimetype="image/jpeg", headers=caching)


def _photo() -> list[bytes]:
    photo = request.files.get("image")
    if photo is None:
        raise BadRequest("Send the photo as the file field 'image' of a multipart form.", code="image_missing")
    return [photo.read()]


def _is_forced() -> bool:
    forced = request.form.get("force") == "true"
    if forced:
        shell.signed_in(Role.ADMIN)
    return forced
