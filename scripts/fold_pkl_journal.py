"""Write what changed since a domain's PKL was written into the PKL, so that DeepFace itself finds it; answers stay."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from app.bootstrap import Container
from app.bootstrap_people import start_database
from app.errors import AppError


def main(argv: Sequence[str] | None = None, container: Container | None = None) -> int:
    """Fold the domains' journals; 0 when all were folded, 1 when one was refused."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fold_pkl_journal", description=__doc__)
    parser.add_argument("domain", nargs="+")
    domains = parser.parse_args(argv).domain
    used = None
    try:
        used = container or Container()
        _fold(used, domains)
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    finally:
        if used is not None and container is None:
            used.close()
    return 0


def _fold(container: Container, domains: Sequence[str]) -> None:
    table = Table("domain", "rows before", "rows now", "images folded", "old entries dropped")
    start_database(container)
    for domain in domains:
        container.gallery_changes.settle(domain)
        with container.gallery_locks.writing(domain):
            report = container.live_pkl.fold(domain)
        table.add_row(domain, *map(str, (report.before, report.rows, report.folded, report.pruned)))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
