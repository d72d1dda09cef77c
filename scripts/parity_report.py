"""Say whether pgvector may answer, with the evidence: as text, as JSON, or as a page that can be mailed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from app.bootstrap_backup import running_database
from app.bootstrap_scripts import GalleryContainer
from app.errors import AppError
from app.logs import configure_logging
from app.services.parity.figures import FigureQuery
from app.services.parity.html_report import html_report
from app.services.parity.report import DEFAULT_SINCE, parse_since
from config import Settings
from scripts.parity_text import EXIT_CODES, NOT_READY, show


def main(argv: Sequence[str] | None = None) -> int:
    """Report; 0: ready, 1: not ready or no report could be made, 3: not enough evidence."""
    arguments = _parser().parse_args(argv)
    configure_logging("WARNING", "text")
    try:
        report = _report(arguments)
        if arguments.html:
            arguments.html.write_text(html_report(report), encoding="utf-8")
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
        return NOT_READY
    except OSError as error:
        sys.stderr.write(f"{error.filename} cannot be written: {error.strerror}.\n")
        return NOT_READY
    if arguments.json:
        sys.stdout.write(f"{json.dumps(report)}\n")
    else:
        show(Console(highlight=False), report)
    return EXIT_CODES[report["verdict"]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.parity_report", description=__doc__)
    parser.add_argument("--domain", help="default: all domains together")
    parser.add_argument("--since", default=DEFAULT_SINCE, help="24h, 7d or a time; default: 7d")
    parser.add_argument("--replay", action="store_true", help="report what replays compared, not live requests")
    parser.add_argument("--run", help="with --replay: one run of them")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write the report as one page with plots")
    return parser


def _report(arguments: argparse.Namespace) -> dict[str, Any]:
    replay = arguments.replay or arguments.run is not None
    query = FigureQuery(
        arguments.domain, parse_since(arguments.since), "replay" if replay else "live", run=arguments.run
    )
    container = GalleryContainer(Settings.load())
    try:
        running_database(container)
        container.require_migrated()
        return container.parity_report(query=query)
    finally:
        container.close()


if __name__ == "__main__":
    sys.exit(main())
