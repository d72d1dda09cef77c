"""The whole request over HTTP: this service in each mode, and DeepFace's own HTTP API doing the same work.

    python -m bench.recognize [--clients 1 2 4 8] [--modes pkl dual pgvector] [--seconds 10] [--images DIR]
        [--pipeline fast]

The same photos, model (Dlib with the detector dlib) and gallery: PKL, pgvector and DeepFace's own pgvector table hold
the same rows. All services run at the same time and are asked in turn, in several rounds, so that a ratio does not
compare one minute of the machine with another. DeepFace gets its best: its indexed search, gunicorn with a worker per
core (its models do not work under threads), and photos reduced to the first of `--deepface-sides` before
the clock runs; a ratio is to that one.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.auth import Role
from app.bootstrap_scripts import GalleryContainer
from app.logs import configure_logging
from app.thread_limits import usable_cores
from bench.recognize_gallery import DOMAIN, fill
from bench.recognize_load import Seen, Target, answers, run_clients
from bench.recognize_photos import Subject, subjects
from bench.recognize_services import MODES, Peer, deepface, ours
from bench.reporting import percentiles, publish
from config import Settings

BEST_SIDES = {"fast": 1280, "deepface": 640}  # of FACE_IMAGE_MAX_SIDE: `fast` detects on a small copy in any case

Figures = dict[str, Any]
Results = dict[str, dict[int, Seen]]  # by name of the service, then by clients


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print; 0 where every photo got the same persons from everybody."""
    arguments = _arguments(argv)
    configure_logging("ERROR", "text")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the services and the database would be left behind
    # Not below a folder of root's: the embedded Postgres has an account of its own.
    with tempfile.TemporaryDirectory(prefix="bench-recognize-") as folder:
        figures = _measured(Path(folder), arguments)
    Console().print(_table(figures))
    publish("recognize", figures)
    return 0 if figures["equal_answers"] else 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.recognize", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each service, number of clients and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=Path, help="a folder of photos; default: the demo's faces")
    parser.add_argument("--photos", type=int, help="at most so many of them; default: all")
    parser.add_argument("--side", type=int, default=1600, help="long side of the photos, in pixels")
    parser.add_argument("--rows", type=int, default=30_000, help="of the gallery")
    parser.add_argument("--pipeline", choices=BEST_SIDES, default="fast", help="FACE_PIPELINE of this service")
    parser.add_argument("--max-side", type=int, help="FACE_IMAGE_MAX_SIDE; default: 1280 for fast, 640 for deepface")
    parser.add_argument(
        "--deepface-sides", type=int, nargs="+", default=[640], help="long sides of the photos DeepFace gets; 0: as is"
    )
    parser.add_argument("--deepface-threads", type=int, default=1)
    parser.add_argument("--no-deepface", action="store_true")
    return parser.parse_args(argv)


def _measured(folder: Path, arguments: argparse.Namespace) -> Figures:
    container = GalleryContainer(_settings(folder, arguments))
    try:
        container.embedded_postgres.start()
        container.migrate()
        people = subjects(arguments.images, arguments.side)[: arguments.photos]
        with ExitStack() as running:
            targets = _targets(container, people, arguments, running)
            found = {target.name: answers(target) for target in targets}
            results = _rounds(targets, arguments)
    finally:
        container.close()
    return _figures(results, found, arguments)


def _settings(folder: Path, arguments: argparse.Namespace) -> Settings:
    side = arguments.max_side or BEST_SIDES[arguments.pipeline]
    return Settings(
        _env_file=None,
        storage_dir=folder,
        face_model="Dlib",
        face_detector="dlib",
        face_weights_download=False,
        face_pipeline=arguments.pipeline,
        face_image_max_side=side,
        vector_db_enabled=True,
        web_workers=usable_cores(),
    )


def _targets(
    container: GalleryContainer, people: Sequence[Subject], arguments: argparse.Namespace, running: ExitStack
) -> list[Target]:
    strangers = fill(container, people, arguments.rows)
    token = container.tokens.create("bench", [DOMAIN], [Role.RECOGNISE], None)
    targets = [running.enter_context(ours(container, mode, token, people)) for mode in arguments.modes]
    if not arguments.no_deepface:
        peer = Peer(usable_cores(), arguments.deepface_threads, arguments.deepface_sides)
        targets += running.enter_context(deepface(container, peer, people, strangers))
    return targets


def _rounds(targets: Sequence[Target], arguments: argparse.Namespace) -> Results:
    results: Results = {target.name: {clients: Seen() for clients in arguments.clients} for target in targets}
    for _ in range(arguments.rounds):
        for clients in arguments.clients:
            for target in targets:
                run_clients(target, clients, arguments.seconds, results[target.name][clients])
    return results


def _figures(results: Results, found: dict[str, list[frozenset[str]]], arguments: argparse.Namespace) -> Figures:
    figures: Figures = {
        name: {str(clients): _figures_of(seen) for clients, seen in by_clients.items()}
        for name, by_clients in results.items()
    }
    differing = {
        name: sum(a != b for a, b in zip(each, next(iter(found.values())), strict=True)) for name, each in found.items()
    }
    recognised = sum(map(bool, next(iter(found.values()))))
    return figures | {
        "pipeline": arguments.pipeline,
        "photos": len(next(iter(found.values()))),
        "photos_recognised": recognised,
        "photos_answered_otherwise": differing,
        "equal_answers": not any(differing.values()),
        **_ratios(figures, arguments, usable_cores()),
    }


def _figures_of(seen: Seen) -> Figures:
    return {
        "throughput_rps": round(seen.throughput_rps, 2),
        **percentiles(seen.times_ms),
        "share_503": round(seen.refused_share, 4),
        "broken": seen.broken,
        "cpu_s_per_request": round(seen.cpu_s_per_request, 4),
        "requests": len(seen.times_ms),
    }


def _ratios(figures: Figures, arguments: argparse.Namespace, cores: int) -> Figures:
    """The goals' figures; each where what it compares was measured."""
    ratios: Figures = {}
    fewest, most = str(min(arguments.clients)), str(max(arguments.clients))
    modes = arguments.modes
    if "deepface" in figures:
        peer = _best_throughput(figures["deepface"])
        ratios["speedup_vs_deepface"] = round(min(_best_throughput(figures[mode]) for mode in modes) / peer, 2)
    if {"pkl", "dual"} <= set(modes):
        ratios["dual_over_pkl_p50"] = round(figures["dual"][fewest]["p50_ms"] / figures["pkl"][fewest]["p50_ms"], 4)
    for mode in modes:
        ideal_ms = int(most) * figures[mode][fewest]["cpu_s_per_request"] * 1000 / cores
        ratios[f"p95_over_ideal_at_{most}_{mode}"] = round(figures[mode][most]["p95_ms"] / ideal_ms, 2)
    ratios[f"p95_over_ideal_at_{most}"] = max(ratios[f"p95_over_ideal_at_{most}_{mode}"] for mode in modes)
    return ratios


def _best_throughput(by_clients: Figures) -> float:
    return float(max(figures["throughput_rps"] for figures in by_clients.values()))


def _table(figures: Figures) -> Table:
    table = Table(title=f"/recognize over HTTP, pipeline {figures['pipeline']}", title_justify="left")
    for heading in ("service", "clients", "requests/s", "p50 ms", "p95 ms", "503", "CPU ms a request"):
        table.add_column(heading, justify="left" if heading == "service" else "right")
    for name in (name for name in figures if name in MODES or name.startswith("deepface")):
        for clients, of in figures[name].items():
            cpu, share = f"{of['cpu_s_per_request'] * 1000:.0f}", f"{of['share_503']:.1%}"
            times = (f"{of['p50_ms']:.0f}", f"{of['p95_ms']:.0f}")
            table.add_row(name, clients, f"{of['throughput_rps']:.2f}", *times, share, cpu)
    table.caption = ", ".join(f"{k} {v}" for k, v in figures.items() if "_over_" in k or k.startswith("speedup"))
    return table


if __name__ == "__main__":
    sys.exit(main())
