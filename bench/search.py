"""Searching a gallery for a probe's persons, every way we know: `python -m bench.search --rows 30000 --persons 29`.

Ways: `pgvector`, our whole path from a probe's vector to ranked persons, with the plan that the tuner found; `pkl`, the
same of our PKL gallery; `deepface_find`, all that DeepFace's `find` does after embedding (`peer_deepface`), in its
fastest variant; and in memory, without persons' names, images or exact distances, `numpy`, `hnswlib`, `faiss` (a graph)
and `faiss_flat`. The graphs get the least effort that reaches pgvector's recall of the top person. What the recalls
mean is said in `search_recall`. Each search is of one probe.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

from rich.console import Console

from app.errors import AppError
from app.logs import configure_logging
from app.thread_limits import limit_threads, threads_per_worker
from bench.peer_deepface import DeepFaceFind, variants
from bench.peers import FaissFlat, FaissHnsw, Hnswlib, NumpyProduct, Way
from bench.reporting import RESULTS, publish
from bench.search_measure import Case, Figures, Measuring, measure
from bench.search_ours import PgVector, Pkl
from bench.search_report import compared, print_shape
from bench.vectors import ProbedGallery, Shape, galleries

MILLION = 1_000_000
_SHORT = (Shape(30_000, 29), Shape(30_000, 5_000))
_SHAPES = {
    "short": _SHORT,
    "all": (*_SHORT, Shape(MILLION, 50_000), Shape(MILLION, 50_000, shares=(99, 1))),
}
_DEEPFACE = "deepface_find"
_WORKERS = 2  # of the web service as it comes, whose threads are shared out so that callers do not wait in line
_TABLE_WIDTH = 140
_TIMES = ("p50_ms", "p95_ms", "p99_ms", "load_p50_ms", "search_p50_ms")

# pgvector first: its recall is what the graphs are tuned to.
WAYS: dict[str, Callable[[float], Way]] = {
    "pgvector": PgVector,
    "pkl": Pkl,
    "numpy": NumpyProduct,
    "hnswlib": Hnswlib,
    "faiss": FaissHnsw,
    "faiss_flat": FaissFlat,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, draw and publish."""
    arguments = _parser().parse_args(argv)
    configure_logging("ERROR", "text")
    limit_threads(arguments.threads)
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    found: dict[str, dict[str, Figures]] = {}
    try:
        for shape in _shapes(arguments):
            found[shape.name] = _measured(shape, arguments, console)
            print_shape(console, shape.name, found[shape.name])
    except AppError as error:
        console.print(f"[red]{error.message}")
        return 1
    if not arguments.no_plot:
        from bench.search_plot import draw

        draw(found, RESULTS / arguments.name)
    publish(arguments.name, compared(found) | {"threads": arguments.threads})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--persons", type=int, default=29)
    parser.add_argument("--dims", type=int, default=512)
    parser.add_argument("--domains", default="1", help="parts of the rows that domains get, as 99:1")
    parser.add_argument("--shapes", choices=_SHAPES, help="several shapes in one run, instead of --rows and --persons")
    parser.add_argument("--same-person", type=float, default=0.55, help="cosine of two images of one person")
    parser.add_argument("--probes", type=int, default=1000, help="of known persons, for each domain")
    parser.add_argument("--threshold", type=float, default=0.68, help="cosine distance; ArcFace's in DeepFace")
    parser.add_argument("--ways", default=",".join((*WAYS, _DEEPFACE)), help="what to measure, separated by commas")
    parser.add_argument("--target", type=float, default=0.999, help="recall for the graphs where pgvector is left out")
    parser.add_argument("--clients", default="2,8", help="callers at once, separated by commas; empty for none")
    parser.add_argument("--deepface-probes", type=int, default=5)
    parser.add_argument("--deepface-rows", type=int, default=100_000, help="beyond, its times are scaled by the rows")
    parser.add_argument(
        "--threads", type=int, default=threads_per_worker(_WORKERS), help="of BLAS, for every way that multiplies"
    )
    parser.add_argument("--tuning-probes", type=int, default=4000, help="of our tuner; 0 for pgvector without a plan")
    parser.add_argument("--name", default="search", help="of the files in bench/results")
    parser.add_argument("--no-plot", action="store_true")
    return parser


def _shapes(arguments: argparse.Namespace) -> list[Shape]:
    shares = tuple(int(share) for share in arguments.domains.split(":"))
    one = Shape(arguments.rows, arguments.persons, shares=shares)
    return [
        replace(shape, dimensions=arguments.dims, same_person=arguments.same_person, probes=arguments.probes)
        for shape in _SHAPES.get(arguments.shapes, (one,))
    ]


def _measured(shape: Shape, arguments: argparse.Namespace, console: Console) -> dict[str, Figures]:
    """The figures of each way that was asked for, at one shape."""
    with console.status(f"{shape.name}: making the gallery"):
        cases = [Case.of(gallery, arguments.threshold) for gallery in galleries(shape)]
    asked = arguments.ways.split(",")
    clients = tuple(int(count) for count in arguments.clients.split(",") if count)
    measuring = Measuring(arguments.target, clients=clients)
    found: dict[str, Figures] = {}
    for name in (name for name in WAYS if name in asked):
        with console.status(f"{shape.name}: {name}"), closing(_way(name, arguments)) as way:
            found[name] = measure(way, cases, measuring)
        if name == "pgvector":
            measuring = _at_equal_recall(measuring, found[name])
    if _DEEPFACE in asked:
        with console.status(f"{shape.name}: {_DEEPFACE}"):
            found[_DEEPFACE] = _deepface(cases[0].gallery, arguments)
    return found


def _at_equal_recall(measuring: Measuring, ours: Figures) -> Measuring:
    first, five = ours["top_person_recall"], ours["recall_at_5"]
    return replace(measuring, target=first or measuring.target, target_five=five or 0.0)


def _way(name: str, arguments: argparse.Namespace) -> Way:
    if name == PgVector.name:
        return PgVector(arguments.threshold, arguments.tuning_probes)
    return WAYS[name](arguments.threshold)


def _deepface(gallery: ProbedGallery, arguments: argparse.Namespace) -> Figures:
    """The fastest variant of `find`, and all of them as `variants`; times of fewer rows are scaled up, and say so."""
    rows = min(len(gallery.embeddings), arguments.deepface_rows)
    few = replace(
        gallery,
        embeddings=gallery.embeddings[:rows],
        person_of=gallery.person_of[:rows],
        probes=gallery.probes[: arguments.deepface_probes],
    )
    case = Case.of(few, arguments.threshold)
    by_variant: dict[str, Figures] = {}
    for variant in variants():
        with closing(DeepFaceFind(variant, arguments.threshold)) as way:
            measured = measure(way, [case], Measuring(1.0, warm_up=1))
        by_variant[variant.name] = _scaled(measured, rows, len(gallery.embeddings))
    best = min(by_variant, key=lambda name: float(by_variant[name]["p50_ms"]))
    return {**by_variant[best], "variant": best, "variants": by_variant}


def _scaled(figures: Figures, measured_rows: int, rows: int) -> Figures:
    """Each step of `find` handles every row once, so its times grow with the rows."""
    factor = rows / measured_rows
    scaled = {name: round(figures[name] * factor, 1) for name in _TIMES}
    return figures | scaled | {"measured_rows": measured_rows, "scaled_by": round(factor, 2)}


if __name__ == "__main__":
    sys.exit(main())
