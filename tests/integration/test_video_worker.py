"""`python -m app.worker` as an operator starts it: with the real model, on a real video, or refused with a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.postgres import Database
from app.adapters.video_probe import probe_apart
from app.bootstrap import Container
from app.bootstrap_video import video_limits
from app.bootstrap_video_api import upload_folder
from app.services.video.job_records import JobScope, JobState, NewJob
from app.worker import REFUSED
from config import Settings
from tests.integration.gallery_host import url_of
from tests.integration.video_world import ROOT, WAIT_S, wait_until
from tests.videos import Actor, Film, Scene, demo_photos, write_film

OURS = JobScope("default", None)


def start(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        environment = os.environ | settings.to_environment()
        return subprocess.Popen([sys.executable, "-m", "app.worker"], env=environment, cwd=ROOT, stderr=output)


@pytest.mark.slow
def test_the_worker_turns_a_real_video_into_identities(
    tmp_path: Path, migrated_database: Database, postgres: EmbeddedPostgres
) -> None:
    settings = Settings(
        _env_file=None,
        storage_dir=tmp_path / "storage",
        database_url=url_of(migrated_database, postgres),
        vector_db_enabled=True,
        face_model="Dlib",
        face_detector="dlib",
        face_pipeline="fast",
    )
    container = Container(settings)
    photos = demo_photos(2)
    first, second = photos
    shown = Scene(2.0, (Actor(first, x=(0.3, 0.3)), Actor(second, x=(0.7, 0.7))))
    job_id = uuid.uuid4().hex
    path = upload_folder(container).path(job_id)
    path.parent.mkdir(parents=True)
    write_film(path.with_suffix(".mp4"), Film(photos, (shown,))).rename(path)
    facts = probe_apart(path, video_limits(settings))
    job, _ = container.videos.job_store.create(
        NewJob(job_id, "default", "demo", job_id, path.stat().st_size, facts, container.engine.spec.key, "r")
    )
    container.videos.queue.defer()
    worker = start(settings, tmp_path / "log")
    try:
        wait_until(lambda: container.videos.job_store.get(OURS, job.job_id).is_finished, "the end", 2 * WAIT_S)
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(WAIT_S) == 0
    done = container.videos.job_store.get(OURS, job.job_id)
    assert done.state is JobState.DONE, (tmp_path / "log").read_text()
    with migrated_database.transaction(10, read_only=True) as cursor:
        cursor.execute("SELECT cluster_id, best_face FROM identities WHERE embedding IS NOT NULL ORDER BY 1")
        identities = cursor.fetchall()
    assert [cluster_id for cluster_id, _ in identities] == [0, 1]
    for _, best_face in identities:
        crop = container.videos.objects.get(best_face["crop"])
        assert crop is not None
        assert crop.startswith(b"\xff\xd8")
    container.close()


def test_a_worker_without_a_database_is_refused_with_a_sentence(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, storage_dir=tmp_path, face_model="Dlib", face_detector="dlib")
    log = tmp_path / "log"
    assert start(settings, log).wait(WAIT_S) == REFUSED
    assert "No database is configured" in log.read_text()
    assert "Traceback" not in log.read_text()
