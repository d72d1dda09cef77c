"""How fast faces come into an empty database: `python -m bench.pkl_import [--million]`.

Prints a table and, as its last line, one JSON object. The server is the embedded one, with a folder of its own. The
parts of the load are timed by themselves in one more chunk: encoding, COPY into the staging table, and the upsert.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from app.bootstrap_backup import running_database
from app.bootstrap_scripts import GalleryContainer
from app.domain import FaceBox, GalleryFace
from app.logs import configure_logging
from app.services.transfer import bulk_load_sql as sql
from app.services.transfer.binary_copy import Scope, binary_rows
from app.services.transfer.bulk_load import ROWS_AT_A_TIME
from app.services.transfer.pkl_import import import_faces
from app.services.vector_db_sql import SPEC_ID
from config import Settings

DIMENSIONS = 512
PERSONS = 1000
MILLION = 1_000_000
DOMAIN = "bench"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and leave nothing behind."""
    parser = argparse.ArgumentParser(prog="python -m bench.pkl_import", description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--million", action="store_true", help="1,000,000 rows; takes minutes and 8 GB of disk")
    parser.add_argument("--index", action="store_true", help="also build the HNSW index")
    arguments = parser.parse_args(argv)
    configure_logging("ERROR", "text")
    rows = MILLION if arguments.million else arguments.rows
    with _container() as container:
        figures = _measure(container, rows, arguments.index)
    _print(figures)
    return 0


@contextmanager
def _container() -> Iterator[GalleryContainer]:
    with tempfile.TemporaryDirectory(prefix="facerec-bench-") as folder:
        settings = Settings(
            storage_dir=Path(folder), vector_db_enabled=True, face_model="ArcFace", face_weights_sha256="0" * 64
        )
        container = GalleryContainer(settings.model_copy(update={"database_url": None}))
        try:
            running_database(container)
            container.migrate()
            yield container
        finally:
            container.close()


def _measure(container: GalleryContainer, rows: int, with_index: bool) -> dict[str, float]:
    """Rows per second of each step, and of all together."""
    first = _seconds(lambda: import_faces(container.bulk_loader, DOMAIN, _faces(rows), lambda _: None))
    again = _seconds(lambda: import_faces(container.bulk_loader, DOMAIN, _faces(rows), lambda _: None))
    making = _seconds(lambda: sum(1 for _ in _faces(rows)))
    figures = {
        "rows": rows,
        "first_import_rows_per_s": rows / (first - making),
        "second_import_rows_per_s": rows / (again - making),
        **_parts(container),
    }
    if with_index:
        figures["index_s"] = _seconds(lambda: container.vector_db.ensure_index(DOMAIN, timeout_s=7200.0))
    return {name: round(figure, 1) for name, figure in figures.items()}


def _parts(container: GalleryContainer) -> dict[str, float]:
    faces = list(_faces(ROWS_AT_A_TIME, prefix="parts"))
    embeddings = np.array([face.embedding for face in faces], dtype=np.float32)
    with container.bulk_loader.transaction() as cursor:
        cursor.execute(SPEC_ID, {"key": container.engine.spec.key})
        ((spec_id,),) = cursor.fetchall()
        cursor.execute(sql.PERSON_IDS, {"domain": DOMAIN, "names": sorted({face.person for face in faces})})
        scope = Scope(DOMAIN, spec_id, dict(cursor.fetchall()))
        streams: list[bytes] = []
        encoding = _seconds(lambda: streams.append(binary_rows(scope, faces, embeddings)))
        cursor.execute(sql.CREATE_STAGING)
        copying = _seconds(lambda: cursor.copy_expert(sql.COPY_STAGING, io.BytesIO(streams[0]), 1 << 20))
        upserting = _seconds(lambda: cursor.execute(sql.UPSERT_STAGING))
    seconds = {"encoding": encoding, "staging_copy": copying, "upsert": upserting}
    return {f"{name}_rows_per_s": len(faces) / taken for name, taken in seconds.items()}


def _faces(rows: int, prefix: str = "") -> Iterator[GalleryFace]:
    """Made-up faces, chunk by chunk, so that a million fit into memory."""
    rng = np.random.default_rng(1)
    box = FaceBox(10, 20, 110, 120)
    for start in range(0, rows, ROWS_AT_A_TIME):
        vectors = rng.standard_normal((min(ROWS_AT_A_TIME, rows - start), DIMENSIONS), dtype=np.float32)
        for number, vector in enumerate(vectors, start=start):
            person = f"Person {number * PERSONS // rows:04}"
            yield GalleryFace(person, f"{person}/{prefix}{number:07}.jpg", box, vector)


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _print(figures: dict[str, float]) -> None:
    table = Table("PKL import, 512 dimensions", "figure")
    for name, figure in figures.items():
        table.add_row(name.replace("_per_s", "/s").replace("_", " "), f"{figure:,.0f}")
    Console().print(table)
    sys.stdout.write(f"{json.dumps(figures)}\n")


if __name__ == "__main__":
    sys.exit(main())
