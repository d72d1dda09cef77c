"""Back up the database, the PKLs with their journals, the tokens and, on request, the photos."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from app.bootstrap import Container
from app.bootstrap_backup import backup_service
from app.errors import AppError
from app.logs import configure_logging
from app.services.backup.backup_folder import BackupFolder, Retention
from app.services.backup.backup_service import BackupReport
from config import Settings
from scripts.terminal import positive

progress = Console(stderr=True, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Make one backup; 0 when it is complete, 1 with a sentence when there is none."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    configure_logging("WARNING", "text")
    try:
        report = _backup(Container(Settings.load()), arguments)
    except AppError as error:
        sys.stderr.write(f"No backup was made: {error.message}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: no backup was made.\n")
        return 1
    if arguments.json:
        sys.stdout.write(json.dumps(_document(report), indent=2) + "\n")
    else:
        Console(highlight=False).print(_table(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.backup", description=__doc__)
    parser.add_argument("--to", type=Path, metavar="DIR", help="the folder of backups; default: BACKUP_DIR")
    parser.add_argument("--photos", action="store_true", help="save the photos of the galleries too")
    parser.add_argument("--keep", type=positive, metavar="N", help="then remove all but the N newest backups")
    parser.add_argument("--keep-days", type=positive, metavar="D", help="then remove those older than D days")
    parser.add_argument("--json", action="store_true", help="say what was made as one JSON document")
    return parser


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that a stopped timer, too, leaves nothing unfinished behind


def _backup(container: Container, arguments: argparse.Namespace) -> BackupReport:
    folder = BackupFolder(arguments.to or container.settings.backups)
    retention = Retention(arguments.keep, arguments.keep_days)
    try:
        with progress.status("Making a backup"):
            return backup_service(container).make(folder, arguments.photos, retention)
    finally:
        container.close()


def _document(report: BackupReport) -> dict[str, object]:
    removed = [path.name for path in report.removed]
    return {"backup": str(report.path), "bytes": report.bytes, "removed": removed, "manifest": asdict(report.manifest)}


def _table(report: BackupReport) -> Table:
    manifest, database = report.manifest, report.manifest.database
    table = Table("", "saved", title=str(report.path), title_justify="left")
    if database is not None:
        table.add_row("Postgres, pgvector, schema", f"{database.postgres}, {database.pgvector}, {database.schema}")
        table.add_row("rows", f"{sum(database.tables.values()):,} in {len(database.tables)} tables")
        for domain, count in database.domains.items():
            table.add_row(f"domain {domain}", f"{count.persons:,} persons, {count.embeddings:,} faces")
    for entry in manifest.files:
        table.add_row(entry.path, f"{entry.bytes:,} bytes")
    table.add_row("older backups removed", ", ".join(path.name for path in report.removed) or "none")
    return table


if __name__ == "__main__":
    sys.exit(main())
