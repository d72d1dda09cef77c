"""Show how a domain's PKL and database differ, and make one like the other."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.bootstrap_backup import running_database
from app.bootstrap_scripts import GalleryContainer
from app.domain import GalleryFace
from app.errors import UnknownDomain
from app.logs import configure_logging
from app.services.transfer.gallery_lint import all_faces
from app.services.transfer.pkl_import import import_faces
from app.services.transfer.reconciliation import Difference, as_in_pkl, compare
from config import Settings
from scripts.terminal import exit_code, progress_bar


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and, if asked to, apply; 0 when the galleries are equal in the end, 1 when not or with the reason."""
    arguments = _parser().parse_args(argv)
    configure_logging("WARNING", "text")
    return exit_code(lambda: GalleryContainer(Settings.load()), lambda container: _run(container, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.reconcile_galleries", description=__doc__)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--apply", choices=["pkl-to-db", "db-to-pkl"], help="make the second like the first")
    parser.add_argument("--dry-run", action="store_true", help="show what --apply would do, and do nothing")
    parser.add_argument("--delete", action="store_true", help="with pkl-to-db: delete what only the database has")
    parser.add_argument("--npz", action="store_true", help="with db-to-pkl: also for DeepFace 0.0.102 and newer")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return parser


def _run(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    console = Console(stderr=arguments.json)
    running_database(container)
    container.require_migrated()
    difference = _compare(container, arguments.domain)
    console.print(_table(arguments.domain, difference))
    if arguments.apply and arguments.dry_run:
        console.print(_plan(arguments, difference))
    elif arguments.apply and (arguments.npz or not difference.is_none):
        apply = _pkl_to_db if arguments.apply == "pkl-to-db" else _db_to_pkl
        apply(container, arguments, difference, console)
        difference = _compare(container, arguments.domain)
        console.print(_table(f"{arguments.domain}, afterwards", difference))
    if arguments.json:
        sys.stdout.write(f"{json.dumps(difference.to_document())}\n")
    return 0 if difference.is_none else 1


def _compare(container: GalleryContainer, domain: str) -> Difference:
    return compare(_pkl_faces(container, domain), container.stored_faces.digests(domain))


def _pkl_faces(container: GalleryContainer, domain: str) -> list[GalleryFace]:
    """None where there is no PKL: after the cutover there may be none, and a rollback begins here."""
    try:
        return list(all_faces(container.pkl_gallery(domain)))
    except UnknownDomain:
        return []


def _plan(arguments: argparse.Namespace, difference: Difference) -> str:
    if arguments.apply == "db-to-pkl":
        rows = difference.equal + len(difference.to_load) - len(difference.only_in_pkl)
        return f"Would write a PKL of {rows + len(difference.only_in_database)} faces."
    removed = len(difference.only_in_database) if arguments.delete else 0
    return f"Would load {len(difference.to_load)} faces into the database and delete {removed}."


def _pkl_to_db(
    container: GalleryContainer, arguments: argparse.Namespace, difference: Difference, console: Console
) -> None:
    if difference.pkl_is_empty:
        raise UnknownDomain("There is no PKL of this domain, or an empty one: the database is left as it is.")
    wanted = difference.to_load
    faces = [f for f in _pkl_faces(container, arguments.domain) if (f.image, f.box) in wanted]
    with progress_bar(console, "faces", len(faces)) as advance:
        import_faces(container.bulk_loader, arguments.domain, faces, advance)
    if arguments.delete and difference.only_in_database:
        container.stored_faces.remove(arguments.domain, difference.only_in_database)
    container.vector_db.ensure_index(arguments.domain)


def _db_to_pkl(
    container: GalleryContainer, arguments: argparse.Namespace, difference: Difference, console: Console
) -> None:
    if difference.database_is_empty:
        raise UnknownDomain("The database has no faces of this domain: the PKL is left as it is.")
    faces = (as_in_pkl(face) for face in container.stored_faces.faces(arguments.domain))
    for path in container.pkl_export.write(arguments.domain, faces, arguments.npz):
        console.print(f"Wrote {path.name}; a file that was there before is kept beside it, with the time in its name.")


def _table(title: str, difference: Difference) -> Table:
    table = Table("faces", "count", "e.g.", title=title)
    document = difference.to_document(examples=1)
    table.add_row("in both, alike", str(document["equal"]), "")
    for kind, images in document["examples"].items():
        table.add_row(kind.replace("_", " "), str(document[kind]), *map(escape, images))
    return table


if __name__ == "__main__":
    sys.exit(main())
