"""A video read on a (local) Ray gives the identities that it gives in the worker's own process."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from app.adapters.embedding.ray_video import RayAnalyser
from app.bootstrap import Container
from app.bootstrap_video import video_analyser
from app.bootstrap_worker import public_settings, remote_analyser
from app.errors import StoreUnavailable, UnsupportedVideo
from app.services.video.job_records import JobCancelled
from config import Settings
from tests.videos import Actor, Film, Scene, demo_photos, write_film

pytest.importorskip("ray", reason="Ray is an optional extra: pip install -r requirements-ray.txt")

LOCAL = "local"  # as `ray.init` takes it: a Ray of its own


@dataclass
class Noting:
    """Keeps what it is told; with a limit, cancels when it is told so often."""

    limit: int | None = None
    told: list[tuple[int, int | None, int]] = field(default_factory=list)

    def progress(self, frames_done: int, frames_total: int | None, faces: int) -> None:
        self.told.append((frames_done, frames_total, faces))
        if self.limit is not None and len(self.told) >= self.limit:
            raise JobCancelled("enough")


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(
        Settings(_env_file=None, storage_dir=tmp_path / "storage", face_model="Dlib", face_detector="dlib")
    )


def on_ray(container: Container) -> RayAnalyser:
    build = partial(remote_analyser, public_settings(container.settings), container.engine.spec.key)
    return RayAnalyser(build, video_analyser(container).identify, LOCAL)


def film(tmp_path: Path, seconds: float) -> Path:
    photos = demo_photos(2)
    first, second = photos
    shown = Scene(seconds, (Actor(first, x=(0.3, 0.3)), Actor(second, x=(0.7, 0.7))))
    return write_film(tmp_path / "film.mp4", Film(photos, (shown,)))


@pytest.mark.slow
def test_ray_finds_the_identities_that_the_worker_finds(tmp_path: Path, container: Container) -> None:
    path, here, watch = film(tmp_path, 2.0), video_analyser(container), Noting()
    expected = here.analyse(path, Noting())
    remote = on_ray(container)
    analysis = remote.identify(remote.read(path, watch))
    assert [(i.cluster_id, i.face_count, i.best_face.at_s) for i in analysis.identities] == [
        (i.cluster_id, i.face_count, i.best_face.at_s) for i in expected.identities
    ]
    assert len(analysis.identities) == 2


@pytest.mark.slow
def test_what_is_wrong_with_a_video_is_said_as_by_the_worker(tmp_path: Path, container: Container) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("no video")
    with pytest.raises(UnsupportedVideo) as refused:
        on_ray(container).read(path, Noting())
    assert refused.value.error_code == "not_a_video"
    with pytest.raises(StoreUnavailable, match="share STORAGE_DIR/videos"):
        on_ray(container).read(tmp_path / "elsewhere.mp4", Noting())


@pytest.mark.slow
def test_a_cancelled_video_is_left_on_ray_too(tmp_path: Path, container: Container) -> None:
    watch = Noting(limit=2)
    with pytest.raises(JobCancelled):
        on_ray(container).read(film(tmp_path, 60.0), watch)
    assert len(watch.told) == 2
