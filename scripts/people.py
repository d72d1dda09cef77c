"""List, add, change and delete the persons of a domain, in both galleries and in every running worker."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.bootstrap import Container
from app.bootstrap_people import start_database
from app.controllers.person_controller import PersonController
from app.errors import AppError
from app.services.people.person_records import PersonQuery, Scope

OPERATOR = "operator"  # who does it, as the audit log knows it

Answer = dict[str, Any]
Command = Callable[[PersonController, argparse.Namespace], Answer]


def main(argv: Sequence[str] | None = None, container: Container | None = None) -> int:
    """Run one command; 0 when it was done, 1 when it was refused."""
    arguments = _parser().parse_args(argv)
    used = None
    try:
        used = container or Container()
        start_database(used)
        _show(arguments.run(used.person_controller, arguments), arguments.json)
    except (AppError, OSError) as error:
        sys.stderr.write(f"{_sentence(error)}\n")
        return 1
    finally:
        if used is not None and container is None:
            used.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.people", description=__doc__)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--json", action="store_true", help="the answer as the API gives it")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Command, about: str, *ids: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about)
        for each in ids:
            sub.add_argument(each, type=int)
        sub.set_defaults(run=run)
        return sub

    listing = command("list", _list, "persons by name")
    listing.add_argument("--search")
    listing.add_argument("--limit", type=int, default=50)
    listing.add_argument("--offset", type=int, default=0)
    command("show", lambda people, a: people.show(a.domain, a.person), "a person with their photos", "person")
    _with_photos(command("add", _add, "a new person")).add_argument("--name", required=True)
    rename = command("rename", lambda people, a: people.rename(_scope(a), a.person, a.name), "another name", "person")
    rename.add_argument("--name", required=True)
    _with_photos(command("add-photo", _add_photos, "more photos of a person", "person"))
    command("remove-photo", _remove_photo, "remove a photo", "person", "face")
    command("move-photo", _move_photo, "give a photo to another person", "person", "face", "to")
    command("merge", lambda people, a: people.merge(_scope(a), a.person, a.into), "merge two", "person", "into")
    command("undo-merge", lambda people, a: people.undo_merge(_scope(a), a.merge), "bring a person back", "merge")
    command("delete", lambda people, a: people.delete(_scope(a), a.person), "delete from everywhere", "person")
    return parser


def _with_photos(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--photo", type=Path, action="append", required=True, help="may be repeated")
    parser.add_argument("--force", action="store_true", help="whatever the photo's quality, and whom it looks like")
    return parser


def _scope(arguments: argparse.Namespace) -> Scope:
    return Scope(arguments.domain, OPERATOR)


def _photos(arguments: argparse.Namespace) -> list[bytes]:
    return [path.read_bytes() for path in arguments.photo]


def _list(people: PersonController, arguments: argparse.Namespace) -> Answer:
    query = PersonQuery(arguments.search, max(1, arguments.limit), max(0, arguments.offset))
    return people.page(arguments.domain, query)


def _add(people: PersonController, arguments: argparse.Namespace) -> Answer:
    return people.add(_scope(arguments), arguments.name, _photos(arguments), arguments.force)


def _add_photos(people: PersonController, arguments: argparse.Namespace) -> Answer:
    return people.add_photos(_scope(arguments), arguments.person, _photos(arguments), arguments.force)


def _remove_photo(people: PersonController, arguments: argparse.Namespace) -> Answer:
    return people.remove_photo(_scope(arguments), arguments.person, arguments.face)


def _move_photo(people: PersonController, arguments: argparse.Namespace) -> Answer:
    return people.move_photo(_scope(arguments), arguments.person, arguments.face, arguments.to)


def _show(answer: Answer, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(f"{json.dumps(answer, ensure_ascii=False)}\n")
        return
    console = Console()
    if "persons" in answer:
        console.print(_table(answer["persons"]), f"{answer['total']} in all.")
        return
    for part in answer.values():
        console.print(_table(part.pop("photos")) if isinstance(part.get("photos"), list) else "", _table([part]))


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(*(rows[0] if rows else ("nothing",)))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    return table


def _sentence(error: AppError | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read: {error.strerror}."
    other = error.details.get("person")
    return f"{error.message} ({other})" if other else error.message


if __name__ == "__main__":
    sys.exit(main())
