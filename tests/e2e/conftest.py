"""A real service: gunicorn over a real socket, real models, real faces, a real embedded Postgres."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from app.auth import Role
from app.bootstrap import Container
from app.lifecycle import check_start
from config import Settings
from scripts import demo_gallery

ROOT = Path(__file__).parents[2]
DUAL = {"VECTOR_DB_ENABLED": "true", "VECTOR_DB_DUAL_MODE": "true"}
PKL = {"VECTOR_DB_ENABLED": "false"}
PGVECTOR = {"VECTOR_DB_ENABLED": "true", "VECTOR_DB_DUAL_MODE": "false"}
READY_WITHIN_S = 60


@dataclass
class Service:
    """A running service and how to talk to it."""

    address: str
    storage: Path
    process: subprocess.Popen[bytes]
    tokens: dict[str, str]
    log_path: Path
    session: requests.Session = field(default_factory=requests.Session)

    def recognize(self, photo: bytes, path: str = "/recognize", token: str = "demo", **extra: Any) -> requests.Response:
        """Upload a photo as the frontend does."""
        headers = {"Authorization": self.tokens[token]} | extra.pop("headers", {})
        files = {"image": ("photo.jpg", photo)}
        return self.session.post(f"{self.address}{path}", files=files, headers=headers, timeout=60, **extra)

    def log(self) -> str:
        return self.log_path.read_text()


@pytest.fixture(scope="session")
def storage(make_folder: Callable[[], Path]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A storage folder whose two galleries hold the demo faces, its database running, and tokens by their use."""
    folder = make_folder() / "storage"
    folder.mkdir()
    settings = Settings(**settings_of(folder), vector_db_enabled=True)
    container = Container(settings)
    check_start(container)
    container.migrate()
    demo_gallery.fill(container, "demo")
    yield folder, _tokens(container)
    container.close()


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of the services here, for what a test does beside them."""
    return {
        "storage_dir": folder,
        "face_model": "Dlib",
        "face_detector": "dlib",
        "face_weights_download": False,
        "_env_file": None,
    }


def _tokens(container: Container) -> dict[str, str]:
    create, recognise = container.tokens.create, [Role.RECOGNISE]
    return {
        "demo": create("frontend", ["demo"], recognise, None),
        "several": create("newsroom", ["demo", "serbia"], recognise, None),
        "other": create("elsewhere", ["serbia"], recognise, None),
        "all": create("operator", ["*"], [Role.ADMIN], None),
        "enrol": create("enrolment", ["demo"], [Role.ENROL], None),
        "judge": create("judge", ["demo"], [Role.VIEW, Role.ENROL], None),
        "viewer": create("viewer", ["demo"], [Role.VIEW], None),
        "expired": create("former", ["demo"], recognise, datetime.now(UTC) - timedelta(seconds=1)),
        "wrong": "this-is-no-token-of-ours",
    }


@pytest.fixture(scope="session")
def start_service(storage: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Start a service over the filled storage, or over another folder, with settings of its own."""

    @contextmanager
    def start(environment: dict[str, str], folder: Path | None = None) -> Iterator[Service]:
        log_path = tmp_path_factory.mktemp("log") / "service.log"
        port = _free_port()
        variables = _environment(folder or storage[0]) | environment | {"PORT": str(port)}
        with log_path.open("wb") as log:
            process = launch(variables, log)
        service = Service(f"http://127.0.0.1:{port}", folder or storage[0], process, storage[1], log_path)
        try:
            _wait_until_ready(service)
            yield service
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(40)

    return start


def launch(variables: dict[str, str], log: Any) -> subprocess.Popen[bytes]:
    """gunicorn as systemd starts it."""
    command = [sys.executable, "-m", "gunicorn", "-c", "systemd/gunicorn.conf.py"]
    return subprocess.Popen(command, env=variables, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def _environment(folder: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields}
    return inherited | {
        "STORAGE_DIR": str(folder),
        "FACE_MODEL": "Dlib",
        "FACE_DETECTOR": "dlib",
        "FACE_WEIGHTS_DOWNLOAD": "false",
        "LOG_FORMAT": "json",
        # The tests share two cores with the database and several workers: no candidate is to miss its limit by that.
        "VECTOR_DB_CANDIDATE_TIMEOUT_MS": "5000",
        "RECOGNIZE_WAIT_LIMIT_S": "60",  # and no photo its turn
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and service.process.poll() is None:
        try:
            if requests.get(f"{service.address}/healthz", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail(f"the service did not start:\n{service.log()}")


@pytest.fixture(scope="session")
def dual(start_service: Callable[..., Any]) -> Iterator[Service]:
    with start_service(DUAL) as service:
        yield service


@pytest.fixture
def storage_copy(storage: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    """The filled storage without its database: galleries, models and tokens, to be changed freely."""
    copy = tmp_path / "storage"
    shutil.copytree(storage[0], copy, ignore=shutil.ignore_patterns("pgdata", "cache", "logs", ".pgdata*"))
    return copy


@pytest.fixture(scope="session")
def database_url(storage: tuple[Path, dict[str, str]]) -> str:
    """The filled database as an operator names it, by DATABASE_URL."""
    return str(Container(Settings(**settings_of(storage[0]), vector_db_enabled=True)).database_url())
