"""Bring the database's schema up to date, forward only; starts the embedded server for it where that is used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from app.bootstrap import Container
from app.errors import AppError
from app.logs import configure_logging


def main(argv: Sequence[str] | None = None) -> int:
    """Migrate and tell what was done; 0 when the schema is up to date, 1 with the reason where it is not."""
    arguments = _parser().parse_args(argv)
    configure_logging("WARNING", "text")
    try:
        return _run(Container(), check_only=arguments.check)
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.migrate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a migration is pending")
    return parser


def _run(container: Container, check_only: bool) -> int:
    try:
        if container.uses_embedded_postgres:
            container.embedded_postgres.start()
        container.database.require_supported()
        if check_only:
            container.require_migrated()
        else:
            for title in container.migrate():
                sys.stdout.write(f"Applied {title}\n")
        sys.stdout.write("The database is up to date.\n")
        return 0
    finally:
        container.close()


if __name__ == "__main__":
    sys.exit(main())
