"""Propose the threshold for a wanted false positive identification rate, from photos in one folder per person."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.bootstrap import Container
from app.bootstrap_calibration import draw_tradeoff, labelled_faces, marked_thresholds, require_drawable
from app.errors import AppError, BadRequest
from app.logs import configure_logging
from app.services.calibration import labelled_photos
from app.services.calibration.error_rates import RULE_OF_THREE, Proportion, Proposal, RatesAt
from app.services.calibration.report import Calibration, calibrate, rates_document, similarity_of
from config import Settings

SUPPORTED, ERROR, TOO_FEW_PHOTOS = 0, 1, 2
_PAIRS_SHOWN = 3

console = Console(highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrate; 0: done, 2: proposed, but from too few photos for the wanted rate, 1: it could not be done."""
    arguments = _parser().parse_args(argv)
    container = None
    try:
        container = Container(_settings())
        return _run(container, arguments)
    except AppError as error:
        console.print(error.message, style="red", markup=False, soft_wrap=True)
        return ERROR
    finally:
        if container is not None:
            container.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.calibrate_threshold", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="one folder per person")
    parser.add_argument("--target-fpir", type=_rate, default=0.001, metavar="RATE", help="default: 0.001")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="FNIR against FPIR, as .png, .svg or .pdf")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="all figures, and the closest pairs of photos")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: one per core")
    return parser


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError("must be above 0 and below 1")
    return rate


def _settings() -> Settings:
    """What the operator set; where the log's level was left open, only warnings stand between bar and table."""
    settings = Settings.load()
    level = settings.log_level if "log_level" in settings.model_fields_set else "WARNING"
    configure_logging(level, settings.log_format)
    return settings.model_copy(update={"log_level": level})


def _run(container: Container, arguments: argparse.Namespace) -> int:
    if arguments.plot:
        require_drawable(arguments.plot)
    if arguments.report and not arguments.report.parent.is_dir():
        raise BadRequest(f"There is no folder {arguments.report.parent} for the report.")
    with _progress() as progress:
        faces = labelled_faces(container, arguments.photos, max(1, arguments.workers), progress)
    calibration = calibrate(container.engine.spec, faces, arguments.target_fpir)
    marked = {name: calibration.rates.at(threshold) for name, threshold in marked_thresholds(container).items()}
    _show(calibration, marked)
    if arguments.plot:
        draw_tradeoff(calibration, marked, arguments.plot)
    if arguments.report:
        _write_report(calibration, marked, arguments.report)
    return SUPPORTED if calibration.proposal.is_supported else TOO_FEW_PHOTOS


@contextmanager
def _progress() -> Iterator[labelled_photos.Progress]:
    columns = TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(calibration: Calibration, marked: dict[str, RatesAt]) -> None:
    faces, spec = calibration.faces, calibration.spec
    console.print(f"{len(faces.images):,} photos of {faces.person_count:,} persons, {spec.model} with {spec.detector}.")
    for reason, count in faces.left_out.items():
        console.print(f"Left out, {reason.replace('_', ' ')}: {count:,}")
    console.print(_table(calibration.proposal, marked))
    for sentence in _remarks(calibration):
        console.print(sentence, markup=False, soft_wrap=True)
    console.print("\nFor the environment; unset the second, and pgvector takes the first:")
    for name, value in calibration.settings.items():
        console.print(f"{name}={value}", style="bold", markup=False)


def _table(proposal: Proposal, marked: dict[str, RatesAt]) -> Table:
    table = Table(title=f"Thresholds, wanted FPIR {proposal.wanted_fpir:g}", title_justify="left")
    table.add_column("threshold")
    for heading in ("distance", "similarity", "FPIR (95 %)", "FNIR (95 %)"):
        table.add_column(heading, justify="right")
    for name, at in ({"proposed": proposal.at} | marked).items():
        numbers = f"{at.threshold:.6g}", f"{similarity_of(at.threshold):.6g}", _percent(at.fpir), _percent(at.fnir)
        table.add_row(name, *numbers, style="bold" if name == "proposed" else None)
    return table


def _percent(proportion: Proportion) -> str:
    low, high = proportion.interval
    return f"{100 * proportion.rate:.3g} % ({100 * low:.2g} to {100 * high:.3g})"


def _remarks(calibration: Calibration) -> Iterator[str]:
    proposal, persons = calibration.proposal, calibration.faces.person_count
    searches = proposal.at.fpir.searches
    if not proposal.is_supported:
        yield (
            f"TOO FEW PHOTOS: {searches:,} searches without an error would only show a rate below "
            f"{RULE_OF_THREE / searches:.2g}; {proposal.wanted_fpir:g} needs {proposal.needed_searches:,} (rule of "
            "three). Take the proposal as a guess."
        )
    low, high = proposal.interval
    lowest = "below what these photos can tell" if low is None else f"{low:.6g}"
    yield f"An FPIR of {proposal.wanted_fpir:g} is reached between {lowest} and {high:.6g} (95 %)."
    yield (
        f"It holds for a gallery of {persons:,} persons: FPIR grows with every person enrolled. The intervals take the "
        "photos as independent; photos of few persons, or of one scene, tell less than they say."
    )
    for pair in calibration.closest[:_PAIRS_SHOWN]:
        if pair.distance <= proposal.at.threshold:
            yield f"Check the labels: {pair.image} and {pair.other_image} are {pair.distance:g} apart."


def _write_report(calibration: Calibration, marked: dict[str, RatesAt], path: Path) -> None:
    """:raises BadRequest: the file cannot be written."""
    document = calibration.to_document() | {"marked": {name: rates_document(at) for name, at in marked.items()}}
    try:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", errors="backslashreplace")
    except OSError as exc:
        raise BadRequest(f"The report cannot be written ({exc.strerror}): {path}") from exc


if __name__ == "__main__":
    sys.exit(main())
