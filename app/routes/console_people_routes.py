"""The console's pages of people: who is in the gallery, and what may be done about it."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.auth import Role
from app.controllers.person_controller import PersonController
from app.errors import AppError, BadRequest
from app.routes import console_shell as shell
from app.routes.http import container
from app.services.people.person_records import PersonQuery

blueprint = Blueprint("people", __name__, url_prefix="/people")

PAGE_SIZE = 24
PHOTOS_SHOWN = 60
TWINS_SHOWN = 30

_LOOK = (Role.VIEW, Role.ENROL)
_MAX_OFFSET_DIGITS = 9


@blueprint.get("/")
def listing() -> str:
    """Persons by name, a page at a time."""
    domain = shell.scope(*_LOOK).domain
    search, offset = request.args.get("q", "").strip(), _offset()
    found = _people().page(domain, PersonQuery(search or None, PAGE_SIZE, offset))
    covers = container().console.faces.of_persons(domain, [person["id"] for person in found["persons"]])
    return render_template("console/people.html", found=found, covers=covers, search=search, page_size=PAGE_SIZE)


@blueprint.get("/new")
def new() -> str:
    """A form for a new person."""
    shell.signed_in(Role.ENROL)
    return render_template("console/person_new.html")


@blueprint.get("/<int:person_id>")
def person(person_id: int) -> str:
    """A person with their photos."""
    domain = shell.scope(*_LOOK).domain
    shown = _people().show(domain, person_id)["person"]
    photos = shown["photos"][:PHOTOS_SHOWN]
    visible = {photo["id"] for photo in photos if container().console.faces.is_shown(domain, photo["image"])}
    return render_template("console/person.html", person=shown, photos=photos, visible=visible)


@blueprint.post("/<int:person_id>/rename")
def rename(person_id: int) -> Response:
    """Another `name`."""
    renamed = _people().rename(shell.scope(Role.ENROL), person_id, request.form.get("name", ""))["person"]
    shell.notify(f"Renamed to {renamed['name']}.")
    return _to_person(person_id)


@blueprint.post("/<int:person_id>/photos/<int:face_id>/remove")
def remove_photo(person_id: int, face_id: int) -> Response:
    """Remove a photo."""
    _people().remove_photo(shell.scope(Role.ENROL), person_id, face_id)
    shell.notify("The photo was removed from the gallery.")
    return _to_person(person_id)


@blueprint.get("/<int:person_id>/merge")
def merge_preview(person_id: int) -> str:
    """Whom to merge a person into, and once that is chosen, what will come of it."""
    domain = shell.scope(Role.ENROL).domain
    source = _people().show(domain, person_id)["person"]
    into = request.args.get("into", type=int)
    if into is None:
        return _merge_targets(domain, source["id"], source["name"])
    target = _people().show(domain, into)["person"]
    parts = container().console
    covers = parts.faces.of_persons(domain, [person_id, into])
    distance = parts.twins.distance(domain, person_id, into)
    threshold = container().pgvector_policy.threshold
    return render_template(
        "console/merge.html", source=source, target=target, covers=covers, distance=distance, threshold=threshold
    )


@blueprint.post("/<int:person_id>/merge")
def merge(person_id: int) -> Response:
    """Merge a person into the person `into`; what follows offers to undo it."""
    into = request.form.get("into", type=int)
    if into is None:
        raise BadRequest("Choose whom to merge this person into.", code="into_missing")
    merged = _people().merge(shell.scope(Role.ENROL), person_id, into)["merge"]
    shell.notify(f"Merged: {merged['photos']} photos moved here.", undo=merged["merge_id"])
    return _to_person(into)


@blueprint.post("/merges/<int:merge_id>/undo")
def undo_merge(merge_id: int) -> Response:
    """Bring a merged person back."""
    back = _people().undo_merge(shell.scope(Role.ENROL), merge_id)["person"]
    shell.notify(f"The merge was undone; {back['name']} is back.")
    return _to_person(back["id"])


@blueprint.post("/<int:person_id>/delete")
def delete(person_id: int) -> Response:
    """Delete a person from everywhere, if the `confirmation` is their name; the receipt follows."""
    asked = shell.scope(Role.ENROL)
    name = _people().show(asked.domain, person_id)["person"]["name"]
    if request.form.get("confirmation", "").strip() != name:
        raise BadRequest("Nobody was deleted: the name that you typed is not this person's.", code="not_confirmed")
    receipt = _people().delete(asked, person_id)["receipt"]
    return redirect(url_for("console.people.receipt", receipt_id=receipt["receipt_id"]))


@blueprint.get("/receipts/<uuid:receipt_id>")
def receipt(receipt_id: UUID) -> str:
    """What was deleted, where, and whether anything is left."""
    domain = shell.scope(*_LOOK).domain
    return render_template("console/receipt.html", receipt=container().console.receipts.find(domain, str(receipt_id)))


@blueprint.get("/twins")
def twins() -> str:
    """Persons who may be the same one."""
    domain = shell.scope(*_LOOK).domain
    parts = container().console
    found = parts.twins.find(domain)
    shown = found.pairs[:TWINS_SHOWN]
    covers = parts.faces.of_persons(domain, [each.id for pair in shown for each in (pair.first, pair.second)])
    return render_template("console/twins.html", found=found, pairs=shown, covers=covers)


@blueprint.post("/twins/dismiss")
def dismiss_twins() -> Response:
    """These are two persons: suggest them no more."""
    first, second = request.form.get("first", type=int), request.form.get("second", type=int)
    if first is None or second is None:
        raise BadRequest("Name two persons.", code="persons_missing")
    container().console.twins.dismiss(shell.scope(Role.ENROL), first, second)
    shell.notify("Noted: these are two persons.")
    return redirect(url_for("console.people.twins"))


@blueprint.errorhandler(AppError)
def refused(error: AppError) -> Response | tuple[str, int]:
    """What a form was refused for is said on the page it came from, where there still is one."""
    person_id = (request.view_args or {}).get("person_id")
    may_return = request.method == "POST" and person_id is not None and error.error_code in _SAID_IN_PLACE
    if not may_return:
        return shell.error_page(error)
    shell.notify(error.message, kind="bad")
    return _to_person(person_id)


_SAID_IN_PLACE = frozenset({"name_taken", "invalid_name", "not_confirmed", "into_missing", "same_person"})


def _merge_targets(domain: str, person_id: int, name: str) -> str:
    search = request.args.get("q", "").strip()
    found = _people().page(domain, PersonQuery(search or None, PAGE_SIZE, 0))
    persons = [each for each in found["persons"] if each["id"] != person_id]
    covers = container().console.faces.of_persons(domain, [each["id"] for each in persons])
    return render_template(
        "console/merge_targets.html", person_id=person_id, name=name, persons=persons, covers=covers, search=search
    )


def _to_person(person_id: object) -> Response:
    return redirect(url_for("console.people.person", person_id=person_id))


def _people() -> PersonController:
    return container().person_controller


def _offset() -> int:
    given = request.args.get("offset", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) <= _MAX_OFFSET_DIGITS else 0
