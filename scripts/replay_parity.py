"""Compare both galleries over a folder of photos; started again, it goes on where it was."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from app.bootstrap_backup import running_database
from app.bootstrap_scripts import ReplayContainer
from app.errors import AppError
from app.lifecycle import warm
from app.logs import configure_logging
from app.services.parity.figures import FigureQuery
from app.services.parity.replay import ReplayRequest, ReplaySummary, domain_of
from config import Settings
from scripts.parity_text import EXIT_CODES, NOT_READY, show
from scripts.terminal import progress_bar

_NAMED = 20  # refused photos that are named

console = Console(highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay and report; 0: ready, 1: not ready or it could not be done, 3: not enough evidence."""
    arguments = _parser().parse_args(argv)
    configure_logging("ERROR", "text")
    try:
        container = ReplayContainer(Settings.load())
        try:
            return _run(container, arguments)
        finally:
            container.close()
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
    except KeyboardInterrupt:
        sys.stderr.write("Stopped; start again to go on.\n")
    return NOT_READY


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.replay_parity", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="photos, in folders below it too")
    parser.add_argument("--domain", help="default: the only one there is")
    parser.add_argument("--run", help="another name compares the same photos again; default: the folder's name")
    return parser


def _run(container: ReplayContainer, arguments: argparse.Namespace) -> int:
    running_database(container)
    container.require_migrated()
    warm(container)
    domain = domain_of(arguments.domain, container.recognition_service.domains())
    run = arguments.run or re.sub(r"[^A-Za-z0-9.-]+", "-", arguments.folder.resolve().name)[:40] or "replay"
    summary = _replay(container, ReplayRequest(arguments.folder, domain, run))
    _show(summary)
    report = container.parity_report(query=FigureQuery(domain, source="replay", run=run))
    show(console, report)
    return EXIT_CODES[report["verdict"]]


def _replay(container: ReplayContainer, request: ReplayRequest) -> ReplaySummary:
    with ExitStack() as bar:

        def on_total(total: int) -> Callable[[int], None]:
            return bar.enter_context(progress_bar(console, "comparing", total))

        return container.replay.run(request, on_total)


def _show(summary: ReplaySummary) -> None:
    console.print(f"{summary.compared:,} photos compared, {summary.done_before:,} were before.")
    for path, reason in summary.refused[:_NAMED]:
        console.print(f"[yellow]not compared[/yellow] {escape(path)}: {escape(reason)}")
    if len(summary.refused) > _NAMED:
        console.print(f"and {len(summary.refused) - _NAMED:,} more that cannot be compared.")


if __name__ == "__main__":
    sys.exit(main())
