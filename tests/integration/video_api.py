"""The web application over a real database, and a worker's hand on its jobs, for the tests of videos over HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from app import create_app
from app.auth import Role
from app.bootstrap import Container
from app.domain import FaceBox, ImageBgr
from app.services.profiles.records import ProfileMatch
from app.services.video.identity_store import IdentityStore, crops_of
from app.services.video.job_records import Job, JobState
from app.services.video.records import OUTLIERS, Appearance, FaceQuality, Identity, SeenFace, VideoAnalysis
from config import Settings
from tests.videos import write_video

CROP = b"\xff\xd8\xff crop"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "
INSTAGRAM = {"name": "Ana", "id": "7", "profileImage": "x", "biography": "paints", "follower_count": 12}


def make_video(path: Path, seed: int = 0, seconds: float = 0.6) -> bytes:
    """A short video of noise."""
    write_video(path, _noise(seed, round(seconds * 10)))
    return path.read_bytes()


def _noise(seed: int, frames: int) -> Iterator[tuple[float, ImageBgr]]:
    random = np.random.default_rng(seed)
    for number in range(frames):
        yield number / 10, np.kron(random.integers(0, 255, (6, 8, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))


@dataclass
class VideoApi:
    """A client of the application, and what lies behind it.

    :param tokens: of two tenants, of another domain and of both domains of the first, an admin of everybody's videos,
        and one who may only look.
    """

    container: Container
    client: FlaskClient
    tokens: dict[str, str]

    @property
    def uploads(self) -> list[Path]:
        """Everything that lies in the folder of uploads."""
        folder = self.container.settings.videos / "uploads"
        return sorted(folder.iterdir()) if folder.exists() else []

    def send(
        self, video: bytes, token: str = "acme", headers: dict[str, str] | None = None, **fields: str
    ) -> TestResponse:
        boundary, body = encode_multipart(
            {"mode": "face"} | fields | {"file": FileStorage(io.BytesIO(video), "film.mp4")}
        )
        form = {"data": body, "content_type": f"multipart/form-data; boundary={boundary}"}
        return self.client.post("/v3/process", headers=self._headers(token, headers), **form)

    def get(self, path: str, token: str = "acme", headers: dict[str, str] | None = None) -> TestResponse:
        return self.client.get(path, headers=self._headers(token, headers))

    def post(self, path: str, token: str = "acme") -> TestResponse:
        return self.client.post(path, headers=self._headers(token, None))

    def delete(self, path: str, token: str = "acme") -> TestResponse:
        return self.client.delete(path, headers=self._headers(token, None))

    def _headers(self, token: str, more: dict[str, str] | None) -> dict[str, str]:
        return {"Authorization": self.tokens[token]} | (more or {})

    # --- as a worker does

    def begin(self, ticket: int = 1) -> Job:
        job = self.container.videos.job_store.claim(ticket)
        assert job is not None
        return job

    def complete(self, job: Job, similarity: float = 0.9) -> None:
        """Two identities of which the first has a profile, and a face that is nobody's."""
        store, identities = (
            IdentityStore(self.container.database, job.spec_key),
            [_identity(0, 3), _identity(1, 2), _identity(-1, 1)],
        )
        store.replace(job, VideoAnalysis(job.facts, 1, tuple(identities)))
        crops = crops_of(job, identities)
        for crop in crops:
            self.container.videos.objects.put(crop.key, CROP, "image/jpeg")
        store.save_crops(job, crops)
        store.save_profiles(job, [_profile("e1", similarity), _profile("e2", similarity - 0.1)])
        self.container.videos.job_store.searched_profiles(job, {"status": "ok", "reason": None})
        assert self.container.videos.job_store.finish(job, JobState.DONE)

    def done(self, video: bytes, token: str = "acme", ticket: int = 1, **fields: str) -> str:
        """The id of a job that has been worked on."""
        job_id = str(self.send(video, token, **fields).json["job_id"])
        self.complete(self.begin(ticket))
        return job_id


def open_api(storage: Path, database_url: str | None, **settings: Any) -> VideoApi:
    """The application as gunicorn makes it, on a host that knows only the digest of its weights."""
    given = {"storage_dir": storage, "database_url": database_url, "vector_db_enabled": True, "face_model": "Dlib"}
    app = create_app(Settings(**given | {"face_detector": "dlib", "_env_file": None} | settings))
    container: Container = app.extensions["container"]
    container.__dict__["engine"] = container.engine_with("ab" * 32)
    create, recognise = container.tokens.create, [Role.RECOGNISE]
    tokens = {
        "acme": create("acme", ["serbia"], recognise, None, "acme"),
        "zenith": create("zenith", ["serbia"], recognise, None, "zenith"),
        "default": create("frontend", ["serbia", "slovenia"], recognise, None),
        "both": create("both", ["serbia", "slovenia"], recognise, None, "acme"),
        "slovenia": create("slovenia", ["slovenia"], recognise, None, "acme"),
        "viewer": create("viewer", ["serbia"], [Role.VIEW], None, "acme"),
        "admin": create("operator", ["*"], [Role.ADMIN], None, "*"),
    }
    return VideoApi(container, app.test_client(), tokens)


def _identity(cluster_id: int, faces: int) -> Identity:
    quality = FaceQuality(1.0, 0.5, 0.5, 0.5, 0.7)
    seen = tuple(SeenFace(float(i), 0, FaceBox(i, 1, 30, 40), quality, CROP) for i in range(faces))
    embedding = None if cluster_id == OUTLIERS else np.eye(128)[cluster_id]
    return Identity(cluster_id, embedding, seen, (Appearance(0.0, float(faces)),))


def _profile(entity_id: str, similarity: float) -> ProfileMatch:
    key = f"profile_images/{entity_id}.webp"
    metadata = {"instagramData": INSTAGRAM}
    return ProfileMatch(0, entity_id, similarity, "instagram", "Ana", "7", "https://example.org/ana", key, metadata)
