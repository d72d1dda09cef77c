"""Tune how domains are searched: as fast as can be while those who are there are found. Run it after bulk loads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from app.bootstrap_backup import running_database
from app.bootstrap_scripts import GalleryContainer
from app.logs import configure_logging
from app.services.search.plan import Share
from app.services.search.trials import Trial, can_be_certain
from app.services.search.tuning import TuningOutcome, TuningRequest
from config import Settings
from scripts.terminal import FAILED, exit_code, positive

DONE = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Tune and show what was tried; 0 where every domain reached its targets, else 1."""
    arguments = _parser().parse_args(argv)
    configure_logging("WARNING", "text")
    return exit_code(lambda: GalleryContainer(Settings.load()), lambda container: _run(container, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.tune_search", description=__doc__)
    parser.add_argument("--domain", action="append", help="may be repeated; default: every domain in the database")
    parser.add_argument("--probes", type=positive, default=4_000, help="faces searched each way (%(default)s)")
    parser.add_argument("--m", type=int, default=16, help="HNSW: links of a template, 2 to 100 (%(default)s)")
    parser.add_argument(
        "--ef-construction", type=int, default=200, help="HNSW: search list of the build, 2*m to 1000 (%(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="measure, and leave the search as it is")
    return parser


def _run(container: GalleryContainer, arguments: argparse.Namespace) -> int:
    running_database(container)
    container.require_migrated()
    domains = arguments.domain or sorted(container.vector_db.domains())
    if not domains:
        sys.stderr.write("The database holds no faces of the spec in use.\n")
        return FAILED
    request = TuningRequest(
        probes=arguments.probes,
        target_top1=container.settings.vector_db_target_recall,
        target_top5=container.settings.vector_db_target_recall_top5,
        m=arguments.m,
        ef_construction=arguments.ef_construction,
        retry_margin=container.settings.vector_db_retry_margin,
        dry_run=arguments.dry_run,
    )
    outcomes = [tune(container, domain, request) for domain in domains]
    return DONE if all(outcome.met for outcome in outcomes) else FAILED


def tune(container: GalleryContainer, domain: str, request: TuningRequest) -> TuningOutcome:
    """Tune one domain and show the result.

    :raises AppError: as `SearchTuner.tune`.
    """
    console = Console(highlight=False)
    with console.status(f"{domain}: begins") as status:
        outcome = container.search_tuner.tune(domain, request, lambda step: status.update(f"{domain}: {step}"))
    console.print(_table(outcome))
    for line in _remarks(outcome, request):
        console.print(line)
    return outcome


def _table(outcome: TuningOutcome) -> Table:
    table = Table(title=f"{outcome.domain}: {outcome.plan.faces} faces of {outcome.plan.persons} persons")
    for heading in ("search", "ef_search", "best person found", "of the five best", "p50", "mean", "result"):
        table.add_column(heading, justify="left" if heading in ("search", "result") else "right")
    for trial in outcome.trials:
        measured = trial.measured
        table.add_row(
            _name(trial),
            str(trial.plan.ef_search),
            _shown(measured.top1),
            _shown(measured.top5),
            f"{measured.search_p50_ms:.2f} ms",
            f"{measured.search_mean_ms:.2f} ms",
            _verdict(trial, outcome),
        )
    return table


def _name(trial: Trial) -> str:
    templates = f" ({trial.plan.templates}, up to {trial.plan.max_template_distance:.2f})"
    return f"{trial.plan.strategy}{templates if trial.plan.max_template_distance else ''}"


def _shown(share: Share) -> str:
    return f"{share.share:.4f} ({share.low:.4f} to {share.high:.4f})"


def _verdict(trial: Trial, outcome: TuningOutcome) -> str:
    if trial is outcome.best:
        return "chosen"
    if not trial.complete:
        return f"given up after {trial.measured.probes}"
    return "reaches the targets" if trial.measured.met else "misses too many"


def _remarks(outcome: TuningOutcome, request: TuningRequest) -> list[str]:
    remarks = [f"{outcome.questions} probes had an answer; shares with their 95 % interval; {outcome.seconds:.0f} s."]
    if not can_be_certain(request.target_top1, outcome.questions):
        remarks.append(
            f"So few probes cannot put the whole interval above {request.target_top1}: the share itself was taken."
        )
    if not outcome.met:
        remarks.append("[red]The targets were NOT reached; the way that found most was chosen.")
    if request.dry_run:
        remarks.append("Dry run: the search goes on as before.")
    return remarks


if __name__ == "__main__":
    sys.exit(main())
