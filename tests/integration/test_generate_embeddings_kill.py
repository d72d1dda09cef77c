"""The script is killed, interrupted, robbed of a worker: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.embedding.jobs import AHEAD
from app.adapters.postgres import Database
from tests.integration.ingest_gallery import IngestGallery

KILLS, SEED = 20, 3
WORKERS, BATCH = 2, 3
OPTIONS = ("--workers", str(WORKERS), "--batch-size", str(BATCH))


@pytest.fixture
def gallery(tmp_path: Path, migrated_database: Database, postgres: EmbeddedPostgres) -> IngestGallery:
    return IngestGallery.make(tmp_path, migrated_database, postgres, persons=24)


def start(gallery: IngestGallery, log: Path) -> subprocess.Popen[str]:
    with log.open("w") as file:
        return gallery.start(*OPTIONS, log=file)


def wait_for_embeddings(process: subprocess.Popen[str], log: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while log.read_text().count("ingest.embedded") < count:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def require_complete(gallery: IngestGallery) -> None:
    on_disk = {p.relative_to(gallery.folder).as_posix() for p in gallery.folder.glob("*/*.png")}
    assert Counter(gallery.images()) == Counter(on_disk)
    assert gallery.outcomes() == dict.fromkeys(on_disk, "done")


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_loses_nothing_but_what_was_in_flight(
    gallery: IngestGallery, tmp_path: Path
) -> None:
    moments = random.Random(SEED)  # noqa: S311 -- seeded on purpose
    log, at_work = tmp_path / "log", 0
    for kill in range(KILLS):
        before = len(gallery.images())
        process = start(gallery, log)
        if kill % 2:  # half of them at any moment, half of them while it works
            wait_for_embeddings(process, log, 1)
        time.sleep(moments.uniform(0, 0.6 if kill % 2 else 2.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        embedded, stored = log.read_text().count("ingest.embedded"), len(gallery.images()) - before
        assert embedded - stored <= BATCH + WORKERS * AHEAD
        assert sorted(gallery.outcomes()) == gallery.images()  # faces and records come together
        at_work += embedded > 0
    assert at_work >= KILLS // 2
    assert gallery.run().code == 0
    require_complete(gallery)


def test_ctrl_c_finishes_what_is_in_flight_and_says_what_is_left(gallery: IngestGallery, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(gallery, log)
    wait_for_embeddings(process, log, 4)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    stored = len(gallery.images())
    assert process.returncode == 0
    assert f"left for the next run │ {72 - stored}" in " ".join(output.split())
    assert stored == log.read_text().count("ingest.embedded")
    assert "Traceback" not in output + log.read_text()


def test_a_worker_that_is_killed_is_replaced_and_its_photos_are_embedded(
    gallery: IngestGallery, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    process = start(gallery, log)
    wait_for_embeddings(process, log, 4)
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    workers[0].kill()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    require_complete(gallery)


def test_when_the_script_alone_is_killed_its_workers_end(gallery: IngestGallery, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(gallery, log)
    wait_for_embeddings(process, log, 1)
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
