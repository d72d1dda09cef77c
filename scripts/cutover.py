"""Let pgvector answer, or the PKL again: on evidence, losing nobody, with a way back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from app.bootstrap_backup import running_database
from app.bootstrap_scripts import GalleryContainer
from app.errors import AppError, StoreUnavailable
from app.logs import configure_logging
from app.services.cutover.environment_file import EnvironmentFile
from app.services.cutover.mode_switch import Standing, reload_command, standing_of, switch
from app.services.cutover.pkl_return import bring_home
from app.services.cutover.readiness import reasons_against
from app.services.parity.report import DEFAULT_SINCE, parse_since
from config import Settings
from scripts.service_probe import Probe, photo_in, token_in

DONE, REFUSED = 0, 1

console = Console(highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Show or change who answers; 0 when it is as asked for, 1 with the reasons when not."""
    arguments = _parser().parse_args(argv)
    configure_logging("ERROR", "text")
    try:
        EnvironmentFile(arguments.env_file).require()  # without it, the defaults would be taken for the service's mode
        container = GalleryContainer(Settings.load(arguments.env_file))
        try:
            code: int = arguments.run(container, arguments)
        finally:
            container.close()
        return code
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.cutover", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    status = commands.add_parser("status", help="who answers, and what speaks against a cutover")
    forward = commands.add_parser("to-pgvector", help="have pgvector answer, where every gate is passed")
    back = commands.add_parser("rollback", help="have the PKL answer again, with everybody in it")
    for command, run in ((status, _status), (forward, _to_pgvector), (back, _rollback)):
        command.set_defaults(run=run)
        command.add_argument("--env-file", type=Path, default=Path(".env"), help="the service's; default: .env")
        command.add_argument("--verify", metavar="URL", help="ask the running service for its mode afterwards")
        command.add_argument("--token-file", type=Path, metavar="FILE", help="with --verify: a token in a file")
        command.add_argument("--photo", type=Path, metavar="FILE", help="with --verify; default: a demo face")
        command.add_argument("--domain", help="with --verify: for a token of several domains")
        command.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for the reload; default: 60")
    for command in (status, forward):
        command.add_argument("--since", default=DEFAULT_SINCE, help="the evidence's begin: 24h, 7d or a time")
    forward.add_argument("--reverse-shadow", action="store_true", help="keep the PKL as a shadow, for the way back")
    forward.add_argument("--force", action="store_true", help="although gates are not passed")
    back.add_argument("--force", action="store_true", help="although the PKL may lack somebody, or nobody can tell")
    back.add_argument("--everybody", action="store_true", help="where the PKL answers already: write in whom it lacks")
    return parser


def _status(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    standing = _standing(container.settings)
    console.print(f"{standing} (mode {standing.mode}).")
    reasons = _reasons(container, arguments.since)
    console.print("Every gate is passed: pgvector may answer." if not reasons else "Against a cutover speaks:")
    _list(reasons)
    return _verified(arguments, standing, wait_s=0.0)


def _to_pgvector(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    wanted = Standing.REVERSE_SHADOW if arguments.reverse_shadow else Standing.PGVECTOR
    if not _standing(container.settings).pgvector_answers:
        reasons = _reasons(container, arguments.since)
        if reasons:
            console.print("Against a cutover speaks:")
            _list(reasons)
        if reasons and not arguments.force:
            console.print("Nothing was changed; --force goes on all the same.")
            return REFUSED
    return _switched(arguments, wanted)


def _rollback(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    standing = _standing(container.settings)
    if not standing.pgvector_answers:
        return _rolled_back_already(container, arguments, standing)
    try:
        _bring_everybody_home(container)
    except StoreUnavailable as error:
        return _without_database(arguments, error)
    except AppError as error:
        if not arguments.force:
            raise
        console.print(f"{error.message} Forced: going on.", style="yellow", markup=False)
    return _switched(arguments, Standing.DUAL)


def _rolled_back_already(container: GalleryContainer, arguments: argparse.Namespace, standing: Standing) -> int:
    """As after a rollback that was forced while the database was away: the PKL may lack who was added before."""
    if arguments.everybody:
        _bring_everybody_home(container)
    else:
        console.print(f"{standing}: there is nothing to go back from. Whom only the database has: --everybody.")
    return _verified(arguments, standing, arguments.wait)


def _bring_everybody_home(container: GalleryContainer) -> None:
    running_database(container)
    container.require_migrated()
    for domain in sorted(container.vector_db.domains()):
        returned = bring_home(container.galleries, domain)
        console.print(
            f"{escape(domain)}: the PKL has everybody of the database ({returned.added:,} faces added, "
            f"{returned.corrected:,} corrected, {returned.kept:,} of its own kept)."
        )


def _without_database(arguments: argparse.Namespace, error: AppError) -> int:
    """Where nobody can tell what the database holds, only the PKL can answer, and only if that is insisted on."""
    console.print(f"It cannot be proven that the PKL has everybody: {error.message}", markup=False)
    if not arguments.force:
        console.print("Nothing was changed; --force lets the PKL answer as it is, without the database.")
        return REFUSED
    return _switched(arguments, Standing.PKL)


def _switched(arguments: argparse.Namespace, wanted: Standing) -> int:
    file = EnvironmentFile(arguments.env_file)
    kept = switch(file, wanted, lambda: _standing(Settings.load(arguments.env_file)))
    if kept is None:
        console.print(f"{file.path} says so already: {wanted}.", markup=False)
    else:
        console.print(f"{file.path}: {wanted} (mode {wanted.mode}). As it was: {kept.name}", markup=False)
        console.print(f"Now: {reload_command(file)}")
    return _verified(arguments, wanted, arguments.wait)


def _verified(arguments: argparse.Namespace, standing: Standing, wait_s: float) -> int:
    """Whether the running service answers so; nobody asks where no address is given."""
    if arguments.verify is None:
        return DONE
    token = token_in(arguments.token_file) if arguments.token_file else ""
    probe = Probe(arguments.verify, token, photo_in(arguments.photo), arguments.domain)
    seen = probe.wait_for(standing.seen_as, wait_s)
    if seen == standing.seen_as:
        console.print(f"The service answers in mode {seen}.")
        return DONE
    console.print(f"The service still answers in mode {seen}, not {standing.seen_as}: reload it.")
    return REFUSED


def _reasons(container: GalleryContainer, since: str) -> list[str]:
    begin = parse_since(since)
    running_database(container)
    container.require_migrated()
    return reasons_against(
        lambda domain: container.parity_report(domain, begin),
        container.live_pkl.domains(),
        container.vector_db.domains(),
    )


def _standing(settings: Settings) -> Standing:
    return standing_of(settings.mode, settings.vector_db_primary)


def _list(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        console.print(f"  - {sentence}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
