"""Acceptance test of a live database: is it complete, sound, and does it find who is there, in time?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from app.bootstrap_backup import running_database
from app.bootstrap_scripts import GalleryContainer
from app.logs import configure_logging
from app.services.acceptance.database_checks import PREREQUISITES, Check
from app.services.acceptance.search_checks import SearchLimits
from config import Settings
from scripts.terminal import FAILED, exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run all checks and show them; 0 where all passed, 1 where one failed or could not be made."""
    arguments = _parser().parse_args(argv)
    configure_logging("ERROR", "text")
    return exit_code(lambda: GalleryContainer(Settings.load()), lambda container: _run(container, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.test_vector_db", description=__doc__)
    parser.add_argument("--domain", action="append", help="may be repeated; default: every domain in the database")
    parser.add_argument("--probes", type=int, default=100, help="faces searched in each domain (%(default)s)")
    parser.add_argument("--target-recall", type=float, default=0.99, help="of the search (%(default)s)")
    parser.add_argument("--max-p95-ms", type=float, help="of a search; default: VECTOR_DB_CANDIDATE_TIMEOUT_MS")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    lines = list(_lines(container, arguments))
    _show(lines, arguments.json)
    return 0 if all(line.passed for line in lines) else FAILED


def _lines(container: GalleryContainer, arguments: argparse.Namespace) -> Iterator[Check]:
    running_database(container)
    limit_ms = arguments.max_p95_ms or container.settings.vector_db_candidate_timeout_ms
    of_database, of_domains = container.acceptance(SearchLimits(arguments.probes, limit_ms, arguments.target_recall))
    lines = list(of_database.run())
    yield from lines
    if all(line.passed for line in lines if line.name in PREREQUISITES):
        yield from of_domains.run(arguments.domain)


def _show(lines: Sequence[Check], as_json: bool) -> None:
    passed = sum(line.passed for line in lines)
    if as_json:
        document = {"passed": passed == len(lines), "checks": [line.to_document() for line in lines]}
        sys.stdout.write(f"{json.dumps(document)}\n")
    else:
        Console().print(_table(lines), f"{passed} of {len(lines)} checks passed.")


def _table(lines: Iterable[Check]) -> Table:
    table = Table("check", "domain", "result", "figure", "what to do")
    for line in lines:
        result = "[green]PASS" if line.passed else "[red]FAIL"
        table.add_row(line.name, line.domain or "", result, line.figure, line.advice)
    return table


if __name__ == "__main__":
    sys.exit(main())
