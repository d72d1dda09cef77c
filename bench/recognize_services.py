"""What `bench.recognize` asks: this service in each mode, and DeepFace's own HTTP API over the same gallery."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from app.bootstrap_scripts import GalleryContainer
from app.domain import GalleryFace
from app.thread_limits import thread_variables, threads_per_worker
from bench.recognize_load import Target, multipart
from bench.recognize_photos import Subject, reduced
from scripts.ports import choose_port

ROOT = Path(__file__).parents[1]
MODES = {
    "pkl": {"VECTOR_DB_ENABLED": "false"},
    "dual": {"VECTOR_DB_ENABLED": "true", "VECTOR_DB_DUAL_MODE": "true"},
    "pgvector": {"VECTOR_DB_ENABLED": "true", "VECTOR_DB_DUAL_MODE": "false"},
}
_FIRST_PORT = 5071
_READY_WITHIN_S = 180

# The table that DeepFace makes for Dlib with the detector dlib, aligned and normalised, and its index.
_PEER_TABLE = "embeddings_dlib_dlib_aligned_norm"
_PEER_INDEX = f"{_PEER_TABLE}_cosine_idx"
_FILL_PEER = f"""
    INSERT INTO {_PEER_TABLE} (img_name, face, face_shape, model_name, detector_backend, aligned, l2_normalized,
                               embedding, face_hash, embedding_hash)
    SELECT image, ''::bytea, '{{0}}', 'Dlib', 'dlib', true, true, l2_normalize(embedding::vector), image, image
    FROM unnest(%(images)s::text[], %(embeddings)s::text[]) AS given(image, embedding)
"""  # noqa: S608 -- a constant
_BUILD_PEER_INDEX = f"CREATE INDEX {_PEER_INDEX} ON {_PEER_TABLE} USING hnsw (embedding vector_cosine_ops)"
_PEER_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Peer:
    """How DeepFace's API is run.

    :param photo_sides: the long sides, in pixels, of the photos it is sent; 0 for the photos as they are. They are
        reduced before the clock runs, because it works on every pixel it gets. Gallery photos have the first.
    """

    workers: int
    threads: int
    photo_sides: Sequence[int]


@contextmanager
def ours(container: GalleryContainer, mode: str, token: str, subjects: Sequence[Subject]) -> Iterator[Target]:
    """This service in a mode, over the container's storage and database, under its own gunicorn.conf.py."""
    port = choose_port("127.0.0.1", _FIRST_PORT, fixed=False)
    environment = container.settings.to_environment() | MODES[mode]
    environment |= {"DATABASE_URL": container.database_url(), "PORT": str(port), "LOG_LEVEL": "INFO"}
    command = [sys.executable, "-m", "gunicorn", "-c", "systemd/gunicorn.conf.py"]
    with _running(command, environment, f"http://127.0.0.1:{port}/healthz") as process:
        bodies = [multipart({}, "image", subject.probe) for subject in subjects]
        yield Target(
            mode,
            f"http://127.0.0.1:{port}/recognize",
            {"Authorization": token},
            bodies,
            _our_persons,
            [process, *_database_processes(container, mode)],
        )


@contextmanager
def deepface(
    container: GalleryContainer, peer: Peer, subjects: Sequence[Subject], strangers: Sequence[GalleryFace]
) -> Iterator[list[Target]]:
    """DeepFace's API with pgvector's index, the fastest of its searches, once for each size of photos.

    Gallery photos are registered through it. The first is named `deepface`, the others after their size as well.
    """
    port = choose_port("127.0.0.1", _FIRST_PORT, fixed=False)
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--timeout", "600"]
    command += ["--workers", str(peer.workers), "--threads", str(peer.threads), "deepface.api.src.app:create_app()"]
    with _running(command, _peer_environment(container, peer), address) as process:
        options = {"model_name": "Dlib", "detector_backend": "dlib", "l2_normalize": "true"}
        _register(address, options, subjects, peer.photo_sides[0])
        _add_strangers(container, strangers)
        search = options | {"search_method": "ann", "k": "5"}
        processes = [process, *_database_processes(container, "pgvector")]
        names = ["deepface", *(f"deepface_{side or 'full'}" for side in peer.photo_sides[1:])]
        yield [
            Target(name, f"{address}/search", {}, _peer_bodies(search, subjects, side), _peer_persons, processes)
            for name, side in zip(names, peer.photo_sides, strict=True)
        ]


def _peer_bodies(search: dict[str, str], subjects: Sequence[Subject], side: int) -> list[tuple[bytes, str]]:
    return [multipart(search, "img", reduced(subject.probe, side) if side else subject.probe) for subject in subjects]


def _peer_environment(container: GalleryContainer, peer: Peer) -> dict[str, str]:
    return thread_variables(threads_per_worker(peer.workers)) | {
        "DEEPFACE_HOME": str(container.settings.weights_home.absolute()),
        "DEEPFACE_BACKEND_ENGINE": container.settings.face_engine,
        "DEEPFACE_DATABASE_TYPE": "pgvector",
        "DEEPFACE_POSTGRES_URI": container.database_url(),
        "DEEPFACE_FACE_RECOGNITION_MODELS": "Dlib",
        "DEEPFACE_FACE_DETECTION_MODELS": "dlib",
        "DEEPFACE_LOG_LEVEL": "40",
    }


def _register(address: str, options: dict[str, str], subjects: Sequence[Subject], photo_side: int) -> None:
    for subject in subjects:
        fields = options | {"img_name": f"{subject.person}/1.jpg"}
        body, kind = multipart(fields, "img", reduced(subject.enrolled, photo_side))
        answer = requests.post(f"{address}/register", data=body, headers={"Content-Type": kind}, timeout=120)
        answer.raise_for_status()


def _add_strangers(container: GalleryContainer, faces: Sequence[GalleryFace]) -> None:
    """Those of whom there are no photos, straight into DeepFace's table; its index is built over all rows."""
    with container.database.transaction(600) as cursor:
        cursor.execute(f"DROP INDEX {_PEER_INDEX}")
        for start in range(0, len(faces), _PEER_BATCH):
            batch = faces[start : start + _PEER_BATCH]
            embeddings = [f"[{','.join(map(str, face.embedding.tolist()))}]" for face in batch]
            cursor.execute(_FILL_PEER, {"images": [face.image for face in batch], "embeddings": embeddings})
        cursor.execute(_BUILD_PEER_INDEX)
        cursor.execute(f"ANALYZE {_PEER_TABLE}")


def _our_persons(answer: Any) -> frozenset[str]:
    return frozenset(face["name"] for face in answer["recognized_faces"] if face["name"])


def _peer_persons(answer: Any) -> frozenset[str]:
    return frozenset(found[0]["img_name"].partition("/")[0] for found in answer["results"] if found)


def _database_processes(container: GalleryContainer, mode: str) -> list[psutil.Process]:
    if mode == "pkl":
        return []
    return [psutil.Process(int((container.settings.pgdata / "postmaster.pid").read_text().splitlines()[0]))]


@contextmanager
def _running(command: Sequence[str], environment: dict[str, str], ready: str) -> Iterator[psutil.Process]:
    process = subprocess.Popen(command, env=os.environ | environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        _wait_until_ready(ready, process)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise TimeoutError(f"nothing answers at {url}")
