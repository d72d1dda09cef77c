"""A host with video jobs, and workers that are processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.job_queue import JobQueue
from app.adapters.postgres import Database
from app.services.video.job_records import Job, JobScope, JobState, NewJob
from app.services.video.job_store import JobStore
from tests.integration.gallery_host import url_of
from tests.integration.video_worker import FACTS

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0
TENANT = "default"


@dataclass
class VideoWorld:
    """Jobs in a database, uploads in a folder.

    :param folder: STORAGE_DIR.
    """

    folder: Path
    database: Database
    url: str
    settings: dict[str, str] = field(default_factory=dict)
    webhook_url: str | None = None

    @classmethod
    def make(cls, folder: Path, database: Database, postgres: EmbeddedPostgres, **settings: str) -> VideoWorld:
        return cls(folder, database, url_of(database, postgres), settings)

    @cached_property
    def jobs(self) -> JobStore:
        return JobStore(self.database)

    @cached_property
    def queue(self) -> JobQueue:
        return JobQueue(self.database)

    def submit(self, *persons: int, tenant: str = TENANT, frames: int = 3, **upload: Any) -> Job:
        """A video of these persons."""
        job = self.insert(*persons, tenant=tenant, frames=frames, **upload)
        self.queue.defer()
        return job

    def insert(self, *persons: int, tenant: str = TENANT, frames: int = 3, **upload: Any) -> Job:
        """The same, by a web worker that dies before it puts a ticket into the queue."""
        job_id = uuid.uuid4().hex
        path = self.folder / "videos" / "uploads" / job_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"persons": persons, "frames": frames} | upload))
        new = NewJob(job_id, tenant, "demo", job_id, 1, FACTS, "spec", "request", webhook_url=self.webhook_url)
        job, _ = self.jobs.create(new)
        return job

    def job(self, job: Job) -> Job:
        return self.jobs.get(JobScope(job.tenant_id, None), job.job_id)

    def cancel(self, job: Job) -> None:
        self.jobs.cancel(JobScope(job.tenant_id, None), job.job_id)

    def wait_for(self, job: Job, state: JobState) -> Job:
        wait_until(lambda: self.job(job).is_finished or self.job(job).state is state, f"job {state}")
        found = self.job(job)
        assert found.state is state, f"{found.state}: {found.error}"
        return found

    def upload(self, job: Job) -> Path:
        return self.folder / "videos" / "uploads" / job.upload

    def killed_at(self, point: str) -> Job:
        """A job whose worker was killed at this point."""
        job = self.insert(1)
        self.pause(job, point)
        self.queue.defer()
        worker = self.start_worker()
        self.wait_for_pause()
        worker.kill()
        worker.wait(WAIT_S)
        return job

    def pause(self, job: Job, point: str) -> None:
        """Have the worker stop where it comes to this point of the job."""
        (self.folder / "paused").unlink(missing_ok=True)
        (self.folder / "pause").write_text(f"{job.job_id} {point}")

    def wait_for_pause(self) -> None:
        wait_until((self.folder / "paused").exists, "a worker at the point")

    @contextmanager
    def worker(self, log: str = "worker.log") -> Iterator[subprocess.Popen[bytes]]:
        process = self.start_worker(log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(WAIT_S)

    def start_worker(self, log: str = "worker.log") -> subprocess.Popen[bytes]:
        settings = {
            "STORAGE_DIR": str(self.folder),
            "DATABASE_URL": self.url,
            "FACE_MODEL": "Dlib",
            "FACE_DETECTOR": "dlib",
            "VIDEO_STALLED_AFTER_S": "2",
            "GRACEFUL_TIMEOUT_S": "2",
        }
        command = [sys.executable, "-m", "tests.integration.video_worker"]
        with (self.folder / log).open("ab") as output:
            environment = os.environ | settings | self.settings
            return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=output, stdout=output)

    def log(self, name: str = "worker.log") -> str:
        return (self.folder / name).read_text()

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.database.transaction(10, read_only=True) as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    def entries(self) -> int:
        """How many entries the queue holds."""
        ((count,),) = self.rows("SELECT count(*) FROM procrastinate.procrastinate_jobs")
        return int(count)

    def crops(self, job: Job) -> list[str]:
        """The files of a job's crops."""
        folder = self.folder / "videos" / "objects" / "crops" / job.job_id
        return sorted(str(path.relative_to(self.folder / "videos" / "objects")) for path in folder.rglob("*.jpg"))


def wait_until(condition: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.05)
