"""Copy the gallery of the database to Milvus, compare the two, or give the one in Milvus up."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from app.bootstrap_backup import running_database
from app.bootstrap_milvus import sync
from app.bootstrap_scripts import GalleryContainer
from app.logs import configure_logging
from app.services.mirror.sync import DomainCheck, MirrorSync
from config import Settings
from scripts.terminal import exit_code, progress_bar

SAMPLE = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was asked; 0 when Milvus holds what the database holds in the end, 1 when not or with the reason."""
    arguments = _parser().parse_args(argv)
    configure_logging("WARNING", "text")
    return exit_code(lambda: GalleryContainer(Settings.load()), lambda container: _run(container, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.sync_milvus", description=__doc__)
    parser.add_argument("--domain", help="compare this domain alone; all domains are copied")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--verify", action="store_true", help="copy nothing, only compare")
    action.add_argument("--from-start", action="store_true", help="copy everything again, as after a restore")
    action.add_argument("--retire", action="store_true", help="drop the collection and follow no more changes")
    return parser


def _run(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    console = Console()
    running_database(container)
    container.require_migrated()
    mirror = sync(container)
    if arguments.retire:
        mirror.retire()
        console.print("The collection is gone, and changes are not followed any more.")
        return 0
    domains = [arguments.domain] if arguments.domain else sorted(container.vector_db.domains())
    if not arguments.verify:
        _copy(mirror, arguments.from_start, console)
    checks = [mirror.check(domain, SAMPLE) for domain in domains]
    console.print(_table(checks))
    return 0 if all(check.is_equal for check in checks) else 1


def _copy(mirror: MirrorSync, from_start: bool, console: Console) -> None:
    faces = mirror.prepare(from_start)
    with progress_bar(console, "faces", faces) as advance:
        mirror.copy(advance)
    if strays := mirror.remove_strays():
        console.print(f"Removed {strays} faces that the database no longer has.")


def _table(checks: list[DomainCheck]) -> Table:
    table = Table("domain", "faces", "missing", "strays", "vectors compared", "different", title="Milvus")
    for check in checks:
        counts = (check.faces, check.missing, check.strays, check.sampled, check.other_vector)
        table.add_row(check.domain, *map(str, counts))
    return table


if __name__ == "__main__":
    sys.exit(main())
