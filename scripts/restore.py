"""Restore a backup and prove it: by its checksums, its counts, and faces that find themselves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.bootstrap import Container
from app.bootstrap_backup import restore_service, running_database
from app.errors import AppError, BadRequest
from app.logs import configure_logging
from app.services.backup.restore_service import RestoreOptions, RestoreReport
from config import Settings

EMBEDDED = "embedded"

progress = Console(stderr=True, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Restore or verify one backup; 0 when every check passed, 1 with a table or a sentence when not."""
    arguments = _parser().parse_args(argv)
    configure_logging("WARNING", "text")
    try:
        report = _restore(arguments)
    except AppError as error:
        sys.stderr.write(f"Not restored: {error.message}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted before the restore was proven: run it again.\n")
        return 1
    Console(highlight=False).print(_table(arguments.backup.name, report))
    return 0 if report.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.restore", description=__doc__)
    parser.add_argument("backup", type=Path, metavar="BACKUP", help="the folder facerec-… of one backup")
    parser.add_argument(
        "--into",
        metavar="DATABASE_URL|embedded",
        help="the database to restore into, without its password; default: the one of the settings",
    )
    parser.add_argument("--galleries", action="store_true", help="put back the PKLs and their journals")
    parser.add_argument("--photos", action="store_true", help="put back the photos")
    parser.add_argument("--tokens", action="store_true", help="put back the tokens, revoked ones too")
    parser.add_argument("--verify-only", action="store_true", help="only check the backup; needs no database")
    parser.add_argument("--force", action="store_true", help="replace what the database holds")
    return parser


def _restore(arguments: argparse.Namespace) -> RestoreReport:
    container = Container(_settings(arguments.into))
    service, backup = restore_service(container), arguments.backup.absolute()
    options = RestoreOptions(arguments.galleries, arguments.photos, arguments.tokens, arguments.force)
    try:
        with progress.status("Checking" if arguments.verify_only else "Restoring"):
            if arguments.verify_only:
                return service.verify(backup)
            return service.restore(backup, lambda: running_database(container), options)
    finally:
        container.close()


def _settings(into: str | None) -> Settings:
    settings = Settings.load()
    if into is None:
        return settings
    if urlsplit(into).password is not None or "password" in into:
        raise BadRequest(
            "Leave the password out of --into, where every user of this machine could read it: "
            "set PGPASSWORD or DATABASE_URL, or keep it in ~/.pgpass.",
            code="password_on_command_line",
        )
    chosen: dict[str, Any] = {"database_url": None if into == EMBEDDED else SecretStr(into), "vector_db_enabled": True}
    return settings.model_copy(update=chosen)


def _table(name: str, report: RestoreReport) -> Table:
    table = Table("check", "", "found", title=f"{name} of {report.manifest.created_at}", title_justify="left")
    for check in report.checks:
        verdict = Text("PASS", "green") if check.passed else Text("FAIL", "red")
        table.add_row(check.name, verdict, Text(check.figure))
    return table


if __name__ == "__main__":
    sys.exit(main())
