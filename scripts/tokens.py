"""Make, list and revoke the tokens that clients send in the header `Authorization`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from app.auth import DEFAULT_TENANT, Role, TokenStore
from app.errors import AppError
from config import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it was done, 1 when it was refused."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(TokenStore(Settings.load().tokens_path), arguments))
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.tokens", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    create = commands.add_parser("create", help="make a token and show it, this once")
    create.add_argument("name", help="who will use it, for your own overview")
    create.add_argument("--domain", action="append", required=True, help="may be repeated; '*' for all domains")
    create.add_argument("--role", action="append", choices=[str(r) for r in Role], help="default: recognise")
    create.add_argument("--tenant", default=DEFAULT_TENANT, help="whose videos; '*' for everybody's; default: default")
    create.add_argument("--days", type=int, help="expires after so many days; default: never")
    create.set_defaults(run=_create)
    commands.add_parser("list", help="show all tokens (never the secret itself)").set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="refuse a token from now on, in every worker")
    revoke.add_argument("id", help="the id that 'list' shows")
    revoke.set_defaults(run=_revoke)
    return parser


def _create(store: TokenStore, arguments: argparse.Namespace) -> int:
    expires = datetime.now(UTC) + timedelta(days=arguments.days) if arguments.days else None
    roles = [Role(r) for r in arguments.role or [Role.RECOGNISE]]
    secret = store.create(arguments.name, arguments.domain, roles, expires, arguments.tenant)
    sys.stderr.write("Keep this token: it is shown only now.\n")
    sys.stdout.write(f"{secret}\n")
    return 0


def _list(store: TokenStore, _: argparse.Namespace) -> int:
    row = "{:<12} {:<20} {:<24} {:<20} {:<12} {}\n"
    sys.stdout.write(row.format("id", "name", "domains", "roles", "tenant", "expires"))
    for token in store.tokens():
        domains, roles = ",".join(token.domains), ",".join(token.roles)
        sys.stdout.write(row.format(token.id, token.name, domains, roles, token.tenant, token.expires_at or "never"))
    return 0


def _revoke(store: TokenStore, arguments: argparse.Namespace) -> int:
    store.revoke(arguments.id)
    sys.stdout.write(f"{arguments.id} is revoked.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
