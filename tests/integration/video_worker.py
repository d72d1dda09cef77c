"""A worker for tests: the real one, but for the model, and with places where it stops and waits to be killed.

`python -m tests.integration.video_worker` runs with the settings of its environment. An "upload" is JSON that says whom
the video shows and how many frames it has. A file `pause` in STORAGE_DIR names a job and a point (a stage, or `crops`);
a worker that comes there writes `paused` and waits.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from app.adapters.job_queue import run_worker
from app.adapters.local_objects import LocalObjects
from app.bootstrap import Container
from app.bootstrap_worker import handlers, video_pipeline
from app.domain import FaceBox
from app.errors import StoreUnavailable, UnsupportedVideo
from app.logs import configure_logging
from app.services.profiles.records import IdentityProbe, ProfileMatch, ProfileSearchResult
from app.services.video.job_records import Job, Progress
from app.services.video.job_store import JobStore
from app.services.video.job_watch import Shutdown
from app.services.video.pipeline import PipelineOptions
from app.services.video.records import (
    OUTLIERS,
    Appearance,
    FaceQuality,
    Identity,
    SeenFace,
    VideoAnalysis,
    VideoFacts,
)
from config import Settings

FACTS = VideoFacts(4.0, 640, 360, 25.0, 100, "h264")
DIMENSIONS = 128
CROPS_PER_IDENTITY = 3
FRAME_S = 0.02


@dataclass(frozen=True)
class Points:
    """Where a worker stops."""

    folder: Path

    def reach(self, job_id: str, point: str) -> None:
        try:
            wanted = (self.folder / "pause").read_text().split()
        except FileNotFoundError:
            return
        if wanted == [job_id, point]:
            (self.folder / "pause").unlink()
            (self.folder / "paused").touch()
            time.sleep(600)


class PausingJobs(JobStore):
    """Stops where a stage is entered."""

    points: Points

    def progress(self, job: Job, progress: Progress) -> None:
        super().progress(job, progress)
        self.points.reach(job.job_id, progress.stage)


class PausingObjects(LocalObjects):
    """Stops between two crops."""

    points: Points

    def put(self, key: str, data: bytes, content_type: str) -> None:
        super().put(key, data, content_type)
        self.points.reach(key.split("/")[1], "crops")


class ScriptedAnalyser:
    """Sees what the upload says."""

    def read(self, path: Path, watch: Any) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(path.read_bytes())
        if "refused" in said:
            raise UnsupportedVideo("This is no video.")
        if "broken" in said:
            raise RuntimeError("a mistake of ours")
        for frame in range(1, said["frames"] + 1):
            time.sleep(FRAME_S)
            watch.progress(frame, said["frames"], frame)
        return said

    def identify(self, found: dict[str, Any]) -> VideoAnalysis:
        identities = [identity(number, person_vector(person)) for number, person in enumerate(found["persons"])]
        return VideoAnalysis(FACTS, found["frames"], (*identities, identity(OUTLIERS, None)))


def person_vector(person: int) -> NDArray[np.float64]:
    """The same for a person in every video; far from everybody else's."""
    vector = np.random.default_rng(person).normal(size=DIMENSIONS)
    return vector / np.linalg.norm(vector)


def identity(cluster_id: int, embedding: NDArray[np.float64] | None) -> Identity:
    quality = FaceQuality(1.0, 1.0, 1.0, 1.0, 0.9)
    faces = tuple(
        SeenFace(float(n), 0, FaceBox(1, 2, 30, 40), quality, b"crop %d" % n) for n in range(CROPS_PER_IDENTITY)
    )
    return Identity(cluster_id, embedding, faces, (Appearance(0.0, 2.0),))


def profiles(probes: list[IdentityProbe]) -> ProfileSearchResult:
    """Everybody matches one profile, which holds what Postgres cannot."""
    found = {
        probe.cluster_id: (
            ProfileMatch(
                probe.cluster_id, f"e{probe.cluster_id}", 0.9, "twitter", "N", "1", None, None, {"a": "\x00b"}
            ),
        )
        for probe in probes
    }
    return ProfileSearchResult("ok", matches=found, ms={"vectors": 1.0})


class _ProfileSearch:
    search_profiles = staticmethod(profiles)

    def close(self) -> None: ...


class AbsentObjects(LocalObjects):
    """A store that is down."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        raise StoreUnavailable("The crops' store is down.")


def scripted(container: Container) -> Any:
    """The pipeline of the service with the scripted analyser, with points to stop at, and impatient."""
    s, points = container.settings, Points(container.settings.storage_dir)
    jobs = PausingJobs(container.database, s.video_tenant_max_jobs)
    is_down = (s.storage_dir / "crops_are_down").exists()
    objects = (AbsentObjects if is_down else PausingObjects)(s.videos / "objects")
    jobs.points = objects.points = points  # type: ignore[union-attr]
    container.videos.job_store, container.videos.objects = jobs, objects
    container.profile_search = _ProfileSearch()  # type: ignore[assignment]
    pipeline = video_pipeline(container, ScriptedAnalyser())  # type: ignore[arg-type]
    pipeline._options = PipelineOptions(s.video_max_attempts, s.video_keep_upload, retry_wait_s=0.2, patience_s=20.0)
    if is_down:
        pipeline._options = PipelineOptions(s.video_max_attempts, False, retry_wait_s=0.2, patience_s=0.5)
    return pipeline


def main() -> int:
    settings = Settings.load()
    configure_logging(settings.log_level, "json")
    container = Container(settings)
    container.engine = container.engine_with("ab" * 32)  # only its name is used
    shutdown = Shutdown(settings.graceful_timeout_s / 2)
    work = handlers(container, scripted(container), shutdown)
    structlog.get_logger(__name__).info("worker.ready")
    run_worker(container.database_url, work, settings.video_stalled_after_s)
    container.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
