"""A gallery in Milvus beside one in Postgres: the copy, what a bulk load pays for being followed, the search.

    python -m bench.milvus [--rows 30000] [--persons 5000] [--dims 512] [--probes 200] [--uri http://host:19530]

Without --uri, Milvus Lite runs in this process: it measures every face, in Python over FAISS, and says nothing about
the speed of a cluster. With the address of a cluster the same figures are the cluster's. Found is held against a search
that measures every face in NumPy. Short form: --rows 5000 --persons 800 --probes 50. The last line is JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from app.bootstrap_backup import running_database
from app.bootstrap_milvus import sync
from app.bootstrap_scripts import GalleryContainer
from app.domain import GalleryFace
from app.logs import configure_logging
from app.services.gallery import FaceSource
from app.services.matching import MatchPolicy
from app.services.mirror.outbox import VISIBLE_AFTER_S
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.transfer.pkl_import import import_faces
from bench.reporting import percentiles, publish
from bench.vectors import ProbedGallery, Shape, galleries, person_name
from config import Settings

THRESHOLD = 0.6
POLICY = MatchPolicy(THRESHOLD, confidence_of=lambda distance, _verified: 100.0 * (1.0 - distance))
LIMIT_S = 60.0
LOAD_FACES, LOAD_ROUNDS = 2_000, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.milvus", description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--persons", type=int, default=5_000)
    parser.add_argument("--dims", type=int, default=512, choices=(512,), help="those of ArcFace")
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--uri", help="of a Milvus server, where a collection is made and dropped again")
    arguments = parser.parse_args(argv)
    configure_logging("ERROR", "text")
    shape = Shape(arguments.rows, arguments.persons, arguments.dims, probes=arguments.probes)
    with tempfile.TemporaryDirectory(prefix="facerec-bench-") as folder:
        container = GalleryContainer(_settings(Path(folder), arguments.uri))
        try:
            figures = _measure(container, galleries(shape)[0])
        finally:
            container.close()
    _show(shape, figures)
    publish("milvus", {"shape": shape.name, "server": "cluster" if arguments.uri else "Milvus Lite", **figures})
    return 0


def _settings(folder: Path, uri: str | None) -> Settings:
    return Settings(
        storage_dir=folder,
        vector_db_enabled=True,
        web_workers=1,
        face_model="ArcFace",
        face_weights_sha256="0" * 64,
        gallery_backend="milvus",
        gallery_milvus_uri=uri or str(folder / "gallery.db"),
        gallery_milvus_collection="bench",
        gallery_milvus_index="HNSW" if uri else "FLAT",
    ).model_copy(update={"database_url": None})


def _measure(container: GalleryContainer, gallery: ProbedGallery) -> dict[str, Any]:
    running_database(container)
    container.migrate()
    mirror = sync(container)
    alone_s = _load_seconds(container, gallery, "alone")
    _load(container, gallery.domain, gallery.faces())
    copied = mirror.prepare()
    copy_s = _seconds(lambda: mirror.copy(lambda _faces: None))
    followed_s = _load_seconds(container, gallery, "followed")
    changed = mirror.prepare()
    deliver_s = _seconds(lambda: mirror.copy(lambda _faces: None))
    time.sleep(VISIBLE_AFTER_S)  # until then a search measures what was delivered in Postgres as well
    mirror.copy(lambda _faces: None)
    container.vector_db.ensure_index(gallery.domain)
    assert container.mirror is not None  # noqa: S101 -- it is set above
    ways: dict[str, FaceSource] = {"milvus": container.mirror.gallery, "pgvector": container.vector_db}
    figures = {name: _search(source, gallery) for name, source in ways.items()}
    mirror.retire()
    return figures | {
        "copy_faces_per_s": round(copied / copy_s),
        "deliver_faces_per_s": round(changed / deliver_s),
        "bulk_load_s": round(alone_s, 3),
        "bulk_load_followed_s": round(followed_s, 3),
        "followed_by_alone": round(followed_s / alone_s, 2),
    }


def _load_seconds(container: GalleryContainer, gallery: ProbedGallery, name: str) -> float:
    """The median of some loads, each into a domain of its own, after one that does not count."""
    faces = list(islice(gallery.faces(), LOAD_FACES))
    loads = [_seconds(partial(_load, container, f"{name}-{number}", faces)) for number in range(LOAD_ROUNDS + 1)]
    return float(np.median(loads[1:]))


def _load(container: GalleryContainer, domain: str, faces: Iterable[GalleryFace]) -> None:
    import_faces(container.bulk_loader, domain, list(faces), lambda _faces: None)


def _search(source: FaceSource, gallery: ProbedGallery) -> dict[str, Any]:
    service = PgVectorRecognitionService(source, POLICY, LIMIT_S)
    times, found, due = [], 0, 0
    for probe in gallery.probes[:5]:  # warm-up
        service.search(gallery.domain, probe[np.newaxis])
    for probe in gallery.probes:
        started = time.perf_counter()
        [matches] = service.search(gallery.domain, probe[np.newaxis])
        times.append((time.perf_counter() - started) * 1000)
        best = _best_person(gallery, probe)
        due += best is not None
        found += best is not None and bool(matches) and matches[0].person == best
    return {**percentiles(times), "top_person_recall": round(found / due, 4), "probes": due}


def _best_person(gallery: ProbedGallery, probe: np.ndarray[Any, Any]) -> str | None:
    distances = 1.0 - gallery.embeddings @ (probe / np.linalg.norm(probe))
    nearest = int(np.argmin(distances))
    return person_name(int(gallery.person_of[nearest])) if distances[nearest] <= THRESHOLD else None


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _show(shape: Shape, figures: dict[str, Any]) -> None:
    table = Table("", "p50 ms", "p95 ms", "p99 ms", "top person found", title=f"Search, {shape.name}")
    for way in ("milvus", "pgvector"):
        of_way = figures[way]
        table.add_row(way, *(f"{of_way[f'p{q}_ms']:.1f}" for q in (50, 95, 99)), str(of_way["top_person_recall"]))
    Console().print(table)
    Console().print(
        f"Copy {figures['copy_faces_per_s']} faces/s; changes {figures['deliver_faces_per_s']} faces/s; "
        f"a bulk load of {LOAD_FACES} takes {figures['bulk_load_s']} s, and {figures['followed_by_alone']} times that "
        "when it is followed."
    )


if __name__ == "__main__":
    sys.exit(main())
