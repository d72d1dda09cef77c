"""How fast a gallery is filled: images per second with 1 and 2 workers against the bare engine, and a run without news.

    python -m bench.bulk_load [--photos 120] [--rounds 2] [--known 30000]

The ceiling is the engine alone, decoding and embedding photos from memory, in as many processes as there are workers.
A rate is taken from a fifth of the results to the end of the last transaction, so that the time to load the models,
which is stated beside it, does not count; of several rounds the best counts, for both alike. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2
from rich.console import Console
from rich.table import Table

from app.adapters.embedding.one_thread import limit_threads
from app.bootstrap import Container
from app.bootstrap_ingest import PoolRequest, embedding_pool, ingest_writer
from app.images import decode_image
from app.logs import configure_logging
from app.services.ingest.catalogue import ImageRecord, Refresh, Rules
from app.services.ingest.embedding import FacePolicy, ImageOutcome
from app.services.ingest.run import Ingest, IngestRequest, Watch
from config import Settings
from scripts import demo_faces

SIDE = 320  # pixels: small photos are where the way to the model costs most
RULES = Rules(FacePolicy.LARGEST)

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Load:
    """A bulk load: images per second once it runs, and seconds until its first result."""

    rate: float
    start_s: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.bulk_load", description=__doc__)
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--known", type=int, default=30_000, help="images of the run with nothing new")
    arguments = parser.parse_args(argv)
    configure_logging("ERROR", "text")
    # Not below a folder of root's: the embedded Postgres has an account of its own.
    with tempfile.TemporaryDirectory(prefix="bench-bulk-load-") as folder:
        figures = _measure(Path(folder), arguments)
    console.print(_table(figures))
    print(json.dumps(figures))
    return 0


def _measure(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    container = Container(_settings(folder))
    photos = _photos(arguments.photos)
    try:
        container.embedded_postgres.start()
        container.migrate()
        figures: dict[str, float] = {}
        for workers in (1, 2):
            ceiling = max(_bare(container.settings, photos, workers) for _ in range(arguments.rounds))
            loads = [_load(container, photos, workers, n) for n in range(arguments.rounds)]
            best = max(loads, key=lambda load: load.rate)
            figures |= {f"bare_{workers}": ceiling, f"load_{workers}": best.rate, f"start_{workers}_s": best.start_s}
            figures[f"share_{workers}_pct"] = 100 * best.rate / ceiling
        figures["known"] = arguments.known
        figures["recheck_s"] = _recheck(container, arguments.known)
    finally:
        container.close()
    return {name: round(value, 2) for name, value in figures.items()}


def _settings(folder: Path) -> Settings:
    return Settings(
        storage_dir=folder,
        face_model="Dlib",
        face_detector="dlib",
        face_weights_download=False,
        vector_db_enabled=True,
        log_level="ERROR",
        database_url=None,
    )


def _photos(count: int) -> list[bytes]:
    """Photos of real faces; each is another file, because a content that is known is not embedded."""
    faces = [cv2.resize(photo, (SIDE, SIDE)) for _, photo in demo_faces.gallery_photos(demo_faces.MAX_PERSONS)]
    encoded = [bytes(cv2.imencode(".jpg", face)[1]) for face in faces]
    return [photo + str(number).encode() for number, photo in enumerate(islice(cycle(encoded), count))]


def _bare(settings: Settings, photos: Sequence[bytes], processes: int) -> float:
    """Images per second of engines that share the photos and do nothing else."""
    spawn = get_context("spawn")
    ready = spawn.Barrier(processes + 1)
    shares = [photos[n::processes] for n in range(processes)]
    crew = [spawn.Process(target=_embed_all, args=(settings, share, ready)) for share in shares]
    for process in crew:
        process.start()
    ready.wait()
    began = time.monotonic()
    for process in crew:
        process.join()
    return len(photos) / (time.monotonic() - began)


def _embed_all(settings: Settings, photos: Sequence[bytes], ready: Barrier) -> None:
    limit_threads()
    container = Container(settings)
    container.engine.warm()
    ready.wait()
    for photo in photos:
        container.engine.embed_faces(decode_image(photo, container.photo_limits.image))


def _load(container: Container, photos: Sequence[bytes], workers: int, number: int) -> Load:
    """A bulk load of the photos into a domain of its own."""
    domain = f"bench-{workers}-{number}"
    folder = container.settings.galleries / domain / "Somebody"
    folder.mkdir(parents=True)
    for index, photo in enumerate(photos):
        (folder / f"{index}.jpg").write_bytes(photo)
    pool = embedding_pool(container, PoolRequest("processes", workers, FacePolicy.LARGEST))
    times: list[float] = [time.monotonic()]
    watch = Watch(progress=lambda done, _: times.append(time.monotonic()) if done else None)
    Ingest(IngestRequest(folder.parent, RULES), ingest_writer(container, domain, 64), pool, watch).run()
    ended = time.monotonic()
    warm = len(photos) // 5
    return Load(rate=(len(photos) - warm) / (ended - times[warm]), start_s=times[1] - times[0])


def _recheck(container: Container, count: int) -> float:
    """Seconds of a run over a gallery that is done."""
    domain = "bench-known"
    folder = container.settings.galleries / domain
    for person in range(count // 1000 + 1):
        (folder / f"{person:03d}").mkdir(parents=True)
    for number in range(count):
        (folder / f"{number // 1000:03d}" / f"{number}.jpg").write_bytes(str(number).encode())
    request = IngestRequest(folder, RULES)
    _record_all(container, domain, request)
    pool = embedding_pool(container, PoolRequest("processes", 2, FacePolicy.LARGEST))
    began = time.monotonic()
    summary = Ingest(request, ingest_writer(container, domain, 64), pool, Watch()).run()
    assert summary.unchanged == count, summary  # noqa: S101 -- else the figure is of something else
    return time.monotonic() - began


def _record_all(container: Container, domain: str, request: IngestRequest) -> None:
    from app.services.ingest.images import find_images

    writer = ingest_writer(container, domain, 5000)
    for image in find_images(request.folder):
        sha256 = hashlib.sha256(image.path.encode()).hexdigest()
        writer.add(Refresh(ImageRecord(image, sha256, ImageOutcome.DONE, None, RULES.policy, 1, 1)))
    writer.flush()


def _table(figures: dict[str, float]) -> Table:
    table = Table(title="Bulk load, Dlib, 320 px", title_justify="left")
    for heading in ("workers", "bare engine, images/s", "bulk load, images/s", "share", "until the first result"):
        table.add_column(heading, justify="right")
    for n in (1, 2):
        share, start = f"{figures[f'share_{n}_pct']:.0f} %", f"{figures[f'start_{n}_s']:.1f} s"
        table.add_row(str(n), f"{figures[f'bare_{n}']:.2f}", f"{figures[f'load_{n}']:.2f}", share, start)
    table.caption = f"A run over {figures['known']:.0f} images that are done: {figures['recheck_s']:.1f} s"
    return table


if __name__ == "__main__":
    sys.exit(main())
