"""Memory and start: what a worker weighs, what a further one adds, and how long until the first answer, per mode.

    python -m bench.footprint [--rows 30000] [--workers 1 2 4] [--photos 12] [--rounds 3] [--pipeline fast|deepface]

Every service is started as systemd starts it, over the same galleries and beside the same running database, and is
weighed after each worker has answered photos, because that is when it has grown. RSS counts shared pages in every
process, PSS in proportion, USS not at all; what a further worker adds is the growth of the sum of all PSS. Times are
the best of the rounds, after one that warms the disk's cache and compiles the PKL. The peer is DeepFace's own HTTP API
with the same model under the same gunicorn (`bench.footprint_peer`); it embeds the photo only. The last line is JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from app.auth import Role
from app.bootstrap_backup import running_database
from app.bootstrap_scripts import GalleryContainer
from app.domain import FaceBox, GalleryFace
from app.logs import configure_logging
from app.services.transfer.pkl_import import import_faces
from bench.footprint_service import Running, Service, Weight, mapped_below, postgres_weight, running
from bench.reporting import publish
from config import Settings
from scripts import demo_faces

DOMAIN = "bench"
PERSONS = 1000
PEER = "deepface_api"
MODES = {
    "pkl": {"VECTOR_DB_ENABLED": "false"},
    "dual": {"VECTOR_DB_ENABLED": "true", "VECTOR_DB_DUAL_MODE": "true"},
    "pgvector": {"VECTOR_DB_ENABLED": "true", "VECTOR_DB_DUAL_MODE": "false"},
}
_PHOTO_HEIGHT, _PHOTO_WIDTH, _FACE_SIDE = 1200, 1600, 600
_THREADS = 4  # gunicorn's, for the peer: as many as the service's default

Figures = dict[str, Any]

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how much is measured."""

    workers: tuple[int, ...]
    photos: int
    rounds: int


@dataclass(frozen=True, slots=True)
class World:
    """The galleries, and what is asked.

    :param pkl: the PKL's file.
    """

    container: GalleryContainer
    folder: Path
    pkl: Path
    photo: bytes

    def services(self) -> dict[str, Service]:
        """What is measured, by name."""
        token = self.container.tokens.create("bench", [DOMAIN], [Role.RECOGNISE], None)
        request = {"files": {"image": ("photo.jpg", self.photo)}, "headers": {"Authorization": token}}
        settings = self.container.settings.to_environment() | {"LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}
        ours = {
            mode: Service(("-c", "systemd/gunicorn.conf.py"), settings | variables, "/recognize", request)
            for mode, variables in MODES.items()
        }
        return ours | {PEER: self._peer()}

    def _peer(self) -> Service:
        environment = {
            "DEEPFACE_HOME": str(self.container.settings.weights_home),
            "DEEPFACE_BACKEND_ENGINE": "onnx",
            "DEEPFACE_FACE_RECOGNITION_MODELS": "Dlib",
            "DEEPFACE_FACE_DETECTION_MODELS": "dlib",
        }
        arguments = (f"bench.footprint_peer:create_app('{self.pkl}')", "--threads", str(_THREADS), "--timeout", "120")
        photo = {
            "files": {"img": ("photo.jpg", self.photo)},
            "data": {"model_name": "Dlib", "detector_backend": "dlib"},
        }
        return Service(arguments, environment, "/represent", photo)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--photos", type=int, default=12, help="per worker, before it is weighed")
    parser.add_argument("--rounds", type=int, default=3, help="starts whose best time counts")
    parser.add_argument("--pipeline", choices=("deepface", "fast"), default="fast")
    parser.add_argument("--only", nargs="+", choices=[*MODES, PEER], default=[*MODES, PEER])
    arguments = parser.parse_args(argv)
    configure_logging("ERROR", "text")
    plan = Plan(tuple(sorted({1, *arguments.workers})), arguments.photos, arguments.rounds)
    with _world(arguments.rows, arguments.pipeline) as world:
        services = {name: service for name, service in world.services().items() if name in arguments.only}
        measured = {name: _measure(world, name, service, plan) for name, service in services.items()}
        spec = world.container.engine.spec
    named = {"model": spec.model, "detector": spec.detector, "pipeline": spec.pipeline}
    figures = {"rows": arguments.rows, "unit": "MB", **named, **measured, **_ratios(measured)}
    console.print(f"{spec.model} with {spec.detector}, pipeline {spec.pipeline}, {arguments.rows:,} rows")
    console.print(_memory_table(measured, plan), _start_table(measured))
    publish("footprint", figures)
    return 0


@contextmanager
def _world(rows: int, pipeline: Literal["deepface", "fast"]) -> Iterator[World]:
    """Both galleries with the same made-up faces, and the database running."""
    # Not below a folder of root's: the embedded Postgres has an account of its own.
    with tempfile.TemporaryDirectory(prefix="bench-footprint-") as folder:
        settings = Settings(
            storage_dir=Path(folder) / "storage",
            face_model="Dlib",
            face_detector="dlib",
            face_pipeline=pipeline,
            face_weights_download=False,
            vector_db_enabled=True,
        )
        (settings.galleries / DOMAIN).mkdir(parents=True)
        container = GalleryContainer(settings)
        try:
            running_database(container)
            container.migrate()
            faces = list(_faces(rows))
            container.write_pkl(DOMAIN, faces)
            import_faces(container.bulk_loader, DOMAIN, faces, lambda _: None)
            container.vector_db.ensure_index(DOMAIN, timeout_s=600.0)
            pkl = next((settings.galleries / DOMAIN).glob("*.pkl"))
            yield World(container, Path(folder), pkl.absolute(), _photo())
        finally:
            container.close()


def _faces(rows: int) -> Iterator[GalleryFace]:
    vectors = np.random.default_rng(1).standard_normal((rows, 128))
    for number, vector in enumerate(vectors):
        person = f"Person {number * PERSONS // rows:04}"
        yield GalleryFace(person, f"{person}/{number:06}.jpg", FaceBox(10, 20, 110, 120), vector)


def _photo() -> bytes:
    """A portrait of 1600 x 1200 pixels, one face."""
    face = cv2.resize(next(demo_faces.gallery_photos(1))[1], (_FACE_SIDE, _FACE_SIDE))
    above, beside = (_PHOTO_HEIGHT - _FACE_SIDE) // 2, (_PHOTO_WIDTH - _FACE_SIDE) // 2
    framed = cv2.copyMakeBorder(face, above, above, beside, beside, cv2.BORDER_REPLICATE)
    return bytes(cv2.imencode(".jpg", framed)[1])


def _measure(world: World, name: str, service: Service, plan: Plan) -> Figures:
    with console.status(f"{name}: start"):
        starts = [_start(world, service) for _ in range(plan.rounds + 1)][1:]
    figures: Figures = min(starts, key=lambda start: float(start["first_answer_s"]))
    for workers in plan.workers:
        with console.status(f"{name}: {workers} workers"):
            figures[f"workers_{workers}"] = _weigh(world, _with_workers(service, workers), plan.photos, workers)
    first, most = figures["workers_1"], figures[f"workers_{plan.workers[-1]}"]
    figures["first_worker_rss"] = first["worker_rss"]
    if len(plan.workers) > 1:
        figures["further_worker"] = round((most["total_pss"] - first["total_pss"]) / (plan.workers[-1] - 1), 1)
    return figures


def _with_workers(service: Service, workers: int) -> Service:
    return Service((*service.arguments, "--workers", str(workers)), service.environment, service.path, service.photo)


def _start(world: World, service: Service) -> Figures:
    """Seconds to the first answer with one worker, and milliseconds of its parts, as the service logs them."""
    with running(_with_workers(service, 1), world.folder / "service.log") as started:
        photo_ms = min(started.ask() for _ in range(3))
        checked, ready = started.logged("start checked"), started.logged("worker ready")
    parts = {key: value for line in (checked, ready) for key, value in line.items() if key.endswith("_ms")}
    rest = started.first_answer_s * 1000 - photo_ms - sum(parts.values())
    first = {"first_answer_s": round(started.first_answer_s, 2)}
    return first | parts | {"photo_ms": round(photo_ms), "imports_and_fork_ms": round(rest)}


def _weigh(world: World, service: Service, photos: int, workers: int) -> Figures:
    with running(service, world.folder / "service.log") as started:
        started.ask_often(photos * workers, 2 * workers)
        weights = [Weight.of(worker) for worker in started.workers]
        master = Weight.of(started.process)
        return _weights(master, weights) | {
            "pkl_unshared": round(max(_unshared_gallery(world, started)), 2),
            "postgres_pss": round(postgres_weight(world.container.settings.pgdata), 1),
        }


def _weights(master: Weight, workers: Sequence[Weight]) -> Figures:
    figures = {
        "master_rss": master.rss,
        "master_pss": master.pss,
        "worker_rss": mean(worker.rss for worker in workers),
        "worker_pss": mean(worker.pss for worker in workers),
        "worker_uss": mean(worker.uss for worker in workers),
        "total_pss": master.pss + sum(worker.pss for worker in workers),
    }
    return {name: round(value, 1) for name, value in figures.items()}


def _unshared_gallery(world: World, started: Running) -> list[float]:
    cache = (world.container.settings.storage_dir / "cache").absolute()
    return [mapped_below(worker, cache) for worker in started.workers]


def _ratios(measured: dict[str, Figures]) -> Figures:
    """How many times as much the peer takes as the mode `pkl`, which does what it does."""
    if PEER not in measured or "pkl" not in measured:
        return {}
    peer, ours = measured[PEER], measured["pkl"]
    names = [name for name in ("first_worker_rss", "further_worker", "first_answer_s") if name in peer]
    return {"peer_to_pkl": {name: round(peer[name] / ours[name], 2) for name in names}}


def _memory_table(measured: dict[str, Figures], plan: Plan) -> Table:
    table = Table(title="Memory in MB, after photos", title_justify="left")
    headings = "workers", "master PSS", "worker RSS", "worker PSS", "worker USS", "all PSS", "PKL unshared", "Postgres"
    names = "master_pss", "worker_rss", "worker_pss", "worker_uss", "total_pss", "pkl_unshared", "postgres_pss"
    table.add_column("mode")
    for heading in headings:
        table.add_column(heading, justify="right")
    for mode, figures in measured.items():
        for workers in plan.workers:
            weighed = figures[f"workers_{workers}"]
            table.add_row(mode, str(workers), *(f"{weighed[name]:.0f}" for name in names))
        if "further_worker" in figures:
            table.add_row("", "each further", *[""] * 4, f"{figures['further_worker']:.0f}")
        table.add_section()
    return table


def _start_table(measured: dict[str, Figures]) -> Table:
    table = Table(title="Seconds to the first answer, and milliseconds of it", title_justify="left")
    names = ["imports_and_fork_ms", "weights_ms", "pkl_ms", "database_ms", "model_ms", "gallery_ms", "photo_ms"]
    table.add_column("mode")
    for heading in ("first answer", *(name.removesuffix("_ms").replace("_", " ") for name in names)):
        table.add_column(heading, justify="right")
    for mode, figures in measured.items():
        cells = [f"{figures[name]:.0f}" if name in figures else "-" for name in names]
        table.add_row(mode, f"{figures['first_answer_s']:.2f}", *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
