"""Embed the images of a folder straight into Postgres; started again, it goes on where it was."""

from __future__ import annotations

import argparse
import csv
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from app.bootstrap import Container
from app.bootstrap_ingest import PoolRequest, bulk_runs, embedding_pool, ingest_writer
from app.domain import check_domain_name
from app.errors import AppError, BadRequest
from app.logs import configure_logging
from app.services.ingest.bulk_runs import Progress
from app.services.ingest.catalogue import Rules
from app.services.ingest.embedding import FacePolicy
from app.services.ingest.run import Ingest, IngestRequest, IngestSummary, NotDone, Watch
from config import Settings
from scripts.terminal import positive

DONE, ERROR, SOME_FAILED, NOTHING_DONE = 0, 1, 2, 3

console = Console(highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Embed what is new; 0: done, 2: some images failed, 3: there was nothing to do, 1: it could not be done."""
    arguments = _parser().parse_args(argv)
    try:
        settings = _settings()
        configure_logging(settings.log_level, settings.log_format)
        with _database(settings) as container:
            return _run(container, arguments)
    except AppError as error:
        console.print(error.message, style="red", markup=False, soft_wrap=True)
        return ERROR
    except KeyboardInterrupt:
        console.print("Stopped at once; what was written stays.")
        return ERROR


def _settings() -> Settings:
    """What the operator set; where the log's level was left open, only warnings stand between bar and table."""
    given = Settings.load()
    level = given.log_level if "log_level" in given.model_fields_set else "WARNING"
    return given.model_copy(update={"vector_db_enabled": True, "log_level": level})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.generate_embeddings_to_db", description=__doc__)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--images", type=Path, metavar="DIR", help="default: the domain's folder in GALLERY_DIR")
    parser.add_argument("--faces", choices=[str(p) for p in FacePolicy], help="of several faces; default: INGEST_FACES")
    parser.add_argument("--workers", type=positive, default=len(os.sched_getaffinity(0)), help="default: one per core")
    parser.add_argument("--batch-size", type=positive, default=64, help="images per transaction; default: 64")
    parser.add_argument("--limit", type=positive, metavar="N", help="embed at most N photos")
    parser.add_argument("--retry-failed", action="store_true", help="try images again that failed before")
    parser.add_argument("--dry-run", action="store_true", help="only say what there is to do")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.csv", help="a line per image not done: path,outcome,reason"
    )
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes")
    parser.add_argument("--ray-address", metavar="ADDRESS", help="of a Ray cluster; default: a local Ray")
    return parser


@contextmanager
def _database(settings: Settings) -> Iterator[Container]:
    """The container over a database that is up to date; the embedded one is started, and released at the end."""
    container = Container(settings)
    try:
        if container.uses_embedded_postgres:
            container.embedded_postgres.start()
            container.migrate()
        container.database.require_supported()
        container.require_migrated()
        yield container
    finally:
        container.close()


def _run(container: Container, arguments: argparse.Namespace) -> int:
    domain = check_domain_name(arguments.domain)
    if arguments.report:
        _write_report(arguments.report, ())  # hours later would be too late to learn that it cannot be written
    summary = _ingest(container, arguments)
    if not arguments.dry_run and not summary.left:
        _build_index(container, domain)
    console.print(_table(domain, summary, arguments.dry_run))
    if arguments.report:
        _write_report(arguments.report, summary.not_done)
    if not summary.did_something:
        return NOTHING_DONE
    return SOME_FAILED if summary.failed_now else DONE


def _ingest(container: Container, arguments: argparse.Namespace) -> IngestSummary:
    policy = FacePolicy(arguments.faces or container.settings.ingest_faces)
    pool = PoolRequest(arguments.engine, arguments.workers, policy, arguments.ray_address)
    request = IngestRequest(
        folder=arguments.images or container.settings.galleries / arguments.domain,
        rules=Rules(policy, arguments.retry_failed),
        limit=arguments.limit,
        dry_run=arguments.dry_run,
    )
    writer = ingest_writer(container, arguments.domain, arguments.batch_size)
    noted = nullcontext(_unnoted) if arguments.dry_run else bulk_runs(container).running("embedding", arguments.domain)
    with noted as note, _progress(note) as watch:
        return Ingest(request, writer, embedding_pool(container, pool), watch).run()


def _unnoted(done: int, total: int) -> None:
    """A dry run is nobody else's business."""


@contextmanager
def _progress(note: Progress) -> Iterator[Watch]:
    """A bar, and Ctrl-C or SIGTERM as a wish to stop; the second Ctrl-C ends the script at once."""
    stopping: list[int] = []

    def stop(number: int, _: object) -> None:
        stopping.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        bar.console.print("Stopping after the photos in flight; press Ctrl-C again to stop at once.")

    columns = TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with rich.progress.Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=None)

            def progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)
                note(done, total)

            yield Watch(progress, lambda: bool(stopping))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} images/s")


def _build_index(container: Container, domain: str) -> None:
    """The first load goes without an index, which is faster and makes a better one; later ones keep it up to date."""
    if domain in container.vector_db.domains():
        with console.status("Building the index, unless it is there"):
            container.vector_db.ensure_index(domain)
        console.print(f"For the fastest search: python -m scripts.tune_search --domain {domain}")


def _table(domain: str, summary: IngestSummary, dry_run: bool) -> Table:
    table = Table(
        title=f"{domain}: what there is to do" if dry_run else domain, title_justify="left", show_header=False
    )
    rows = {
        "images found": summary.found,
        "as before": summary.unchanged,
        "to embed" if dry_run else "handed to the model": summary.embedded,
        "moved": summary.moved,
        "further copies": summary.copied,
        "touched, same content": summary.touched,
        "left for the next run": summary.left,
        "files gone (faces kept)": len(summary.gone),
        "faces stored": summary.faces,
        "images/s": f"{summary.embedded / summary.seconds:.1f}" if summary.embedded else "-",
    } | {f"failed: {outcome}": count for outcome, count in summary.outcomes.items() if outcome != "done"}
    for label, value in rows.items():
        table.add_row(label, str(value))
    if before := len(summary.not_done) - summary.failed_now:
        table.add_row("failed before, not tried again", str(before))
    return table


def _write_report(path: Path, not_done: Sequence[NotDone]) -> None:
    """:raises BadRequest: the file cannot be written."""
    try:
        # A file name that is not UTF-8 shall not cost the report.
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            rows = csv.writer(file)
            rows.writerow(("path", "outcome", "reason"))
            rows.writerows((each.path, each.outcome, each.reason) for each in not_done)
    except OSError as exc:
        raise BadRequest(f"The report cannot be written ({exc.strerror}): {path}") from exc


if __name__ == "__main__":
    sys.exit(main())
