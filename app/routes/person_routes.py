"""Persons of a domain over HTTP: listed with the role `view` or `enrol`, changed with the role `enrol`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from app.auth import Role, Token
from app.controllers.person_controller import PersonController
from app.errors import BadRequest
from app.routes.http import container, current_token
from app.services.people.person_records import PersonQuery, Scope

blueprint = Blueprint("person", __name__)

MAX_PAGE = 200
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"", "false", "0", "no"})

Answer = dict[str, Any]


@blueprint.get("/persons")
def list_persons() -> Answer:
    """Persons by name; query: `search`, `limit` (1 to 200, 50 by default), `offset`."""
    domain = _domain(_token(Role.VIEW, Role.ENROL))
    limit, offset = _number("limit", 50, MAX_PAGE), _number("offset", 0, None)
    return _success(_people().page(domain, PersonQuery(request.args.get("search") or None, max(1, limit), offset)))


@blueprint.get("/persons/<int:person_id>")
def show_person(person_id: int) -> Answer:
    """A person with their photos."""
    return _success(_people().show(_domain(_token(Role.VIEW, Role.ENROL)), person_id))


@blueprint.post("/persons")
def add_person() -> tuple[Answer, int]:
    """A new person; form: `name`, one or more files `images`, `force` for an admin."""
    token = _token(Role.ENROL)
    scope, force = _scope(token), _force(token)
    return _success(_people().add(scope, _field("name"), _images(), force)), 201


@blueprint.patch("/persons/<int:person_id>")
def rename_person(person_id: int) -> Answer:
    """Another `name`."""
    return _success(_people().rename(_scope(_token(Role.ENROL)), person_id, _field("name")))


@blueprint.post("/persons/<int:person_id>/photos")
def add_photos(person_id: int) -> tuple[Answer, int]:
    """More photos; form: one or more files `images`, `force` for an admin."""
    token = _token(Role.ENROL)
    scope, force = _scope(token), _force(token)
    return _success(_people().add_photos(scope, person_id, _images(), force)), 201


@blueprint.delete("/persons/<int:person_id>/photos/<int:face_id>")
def remove_photo(person_id: int, face_id: int) -> Answer:
    """Remove a photo."""
    return _success(_people().remove_photo(_scope(_token(Role.ENROL)), person_id, face_id))


@blueprint.post("/persons/<int:person_id>/photos/<int:face_id>/move")
def move_photo(person_id: int, face_id: int) -> Answer:
    """Give a photo to the person `to`."""
    return _success(_people().move_photo(_scope(_token(Role.ENROL)), person_id, face_id, _id_field("to")))


@blueprint.post("/persons/<int:person_id>/merge")
def merge_person(person_id: int) -> Answer:
    """Merge a person into the person `into`."""
    return _success(_people().merge(_scope(_token(Role.ENROL)), person_id, _id_field("into")))


@blueprint.post("/merges/<int:merge_id>/undo")
def undo_merge(merge_id: int) -> Answer:
    """Bring a merged person back."""
    return _success(_people().undo_merge(_scope(_token(Role.ENROL)), merge_id))


@blueprint.delete("/persons/<int:person_id>")
def delete_person(person_id: int) -> Answer:
    """Delete a person from everywhere; the receipt."""
    return _success(_people().delete(_scope(_token(Role.ENROL)), person_id))


def _people() -> PersonController:
    return container().person_controller


def _success(document: Answer) -> Answer:
    return {"status": "success"} | document


def _token(*roles: Role) -> Token:
    token = current_token()
    token.require(*roles)
    return token


def _scope(token: Token) -> Scope:
    return Scope(_domain(token), token.id)


def _domain(token: Token) -> str:
    return token.domain(_given("domain") or None)


def _force(token: Token) -> bool:
    given = _given("force").lower()
    if given not in _TRUE | _FALSE:
        raise BadRequest("'force' is true or false.", code="invalid_force")
    if given in _TRUE:
        token.require(Role.ADMIN)
    return given in _TRUE


def _given(field: str) -> str:
    """A value of the form, of a JSON body or of the query; empty where it is not given."""
    body = request.get_json(silent=True) if request.is_json else None
    value = body.get(field) if isinstance(body, dict) else request.form.get(field)
    return str(value if value is not None else request.args.get(field, "")).strip()


def _field(name: str) -> str:
    value = _given(name)
    if not value:
        raise BadRequest(f"Send the field '{name}'.", code=f"{name}_missing")
    return value


def _id_field(name: str) -> int:
    value = _field(name)
    if not value.isascii() or not value.isdigit() or len(value) > len(str(2**63)) - 1:
        raise BadRequest(f"'{name}' is the id of a person.", code=f"invalid_{name}")
    return int(value)


def _number(name: str, default: int, most: int | None) -> int:
    value = request.args.get(name, "")
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > 9:  # noqa: PLR2004 -- a billion is enough
        raise BadRequest(f"'{name}' is a whole number, 0 or more.", code=f"invalid_{name}")
    return int(value) if most is None else min(int(value), most)


def _images() -> list[bytes]:
    return [file.read() for file in request.files.getlist("images")]
