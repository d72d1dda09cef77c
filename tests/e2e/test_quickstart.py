"""`make run` as a new user sees it: it answers, says where it serves, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from config import Settings
from scripts import demo_faces

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def storage(make_folder: Callable[[], Path]) -> Path:
    """Empty at the first start, and as the first start left it at the next ones."""
    return make_folder() / "storage"


class Run:
    """One run of the quick start, and what it printed so far."""

    def __init__(self, storage: Path, output: Path, **variables: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields}
        choices = {"STORAGE_DIR": str(storage), "COLUMNS": "140", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "scripts.quickstart"]
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=inherited | choices | variables, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def video(self) -> str:
        """The table about the demo's video."""
        return self.output.partition("A video: who is seen")[2].partition("Serving at")[0]

    def wait_for(self, text: str, seconds: int = 120) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"never printed {text!r}:\n{self.output}")
            time.sleep(0.1)

    def address(self) -> str:
        found = re.search(r"Serving at (http://\S+),", self.output)
        assert found is not None
        return found[1]

    def ask(self, path: str, storage: Path) -> dict[str, Any]:
        headers = {"Authorization": (storage / "demo" / "token").read_text().strip()}
        answer = requests.get(f"{self.address()}{path}", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def kill_worker(self, seconds: int = 120) -> None:
        deadline = time.monotonic() + seconds
        while True:
            assert time.monotonic() < deadline
            for child in psutil.Process(self.process.pid).children():
                if child.is_running() and "app.worker" in child.cmdline():
                    child.kill()
                    return
            time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running(storage: Path, output: Path, early: bool = False, **variables: str) -> Iterator[Run]:
    run = Run(storage, output, **variables)
    try:
        if not early:
            run.wait_for("Ctrl-C stops everything.")
        yield run
    finally:
        if run.process.poll() is None:
            run.stop()


def left_over(storage: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if str(storage) in " ".join(process.cmdline()) or process.environ().get("STORAGE_DIR") == str(storage):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def state_of(storage: Path) -> dict[str, object]:
    files = {str(p): p.stat().st_mtime_ns for p in (storage / "galleries").rglob("*.*") if p.is_file()}
    return files | {"token": (storage / "demo" / "token").read_text()}


def assert_shows_the_film(run: Run) -> None:
    rows = run.video
    first, second, third = (rows.index(person) for person in ("Person 001", "Person 003", "unknown"))
    assert first < second < third
    assert {"tiktok", "twitter"} <= set(rows[first:second].split())
    assert "instagram" in rows[second:third]
    assert "none" in rows[third:]


def test_it_prints_dual_mode_answers_serves_and_ends_everything_it_started(storage: Path, tmp_path: Path) -> None:
    photo, person = demo_faces.known_probe()
    with running(storage, tmp_path / "output") as run:
        shown = run.output
        assert person in shown
        assert "unknown" in shown
        assert "true" in shown
        assert "false" not in shown
        token = (storage / "demo" / "token").read_text().strip()
        assert token not in shown
        assert (storage / "demo" / "token").stat().st_mode & 0o777 == 0o600
        headers = {"Authorization": token}
        answer = requests.post(f"{run.address()}/recognize", headers=headers, files={"image": photo}, timeout=60).json()
        assert answer["comparison"]["top1_match"] is True
        assert_shows_the_film(run)
        assert shown.index("Several faces") < shown.index("A video")
        assert run.stop() == 0
    assert left_over(storage) == []


def test_the_second_start_changes_nothing_and_shows_the_stored_results(storage: Path, tmp_path: Path) -> None:
    before = state_of(storage)
    with running(storage, tmp_path / "output") as run:
        assert_shows_the_film(run)
        assert run.ask("/v3/jobs", storage)["total"] == 1
        assert run.ask("/api/v1/health", storage)["status"] == "ok"
        assert run.stop() == 0
    assert state_of(storage) == before


def test_profiles_that_could_not_be_searched_are_told_and_searched_at_the_next_start(
    storage: Path, tmp_path: Path
) -> None:
    dead = {"PROFILE_SEARCH_ENABLED": "true", "PROFILE_SEARCH_MONGO_URI": "mongodb://127.0.0.1:1/"}
    key = {"PROFILE_SEARCH_MIN_SIMILARITY": "0.94"}  # a job of its own
    with running(storage, tmp_path / "failed", **dead, **key) as run:
        assert "Profiles were not searched: MongoDB cannot be reached." in run.video
        assert "Person 001" in run.video
        assert run.stop() == 0
    with running(storage, tmp_path / "output", **key) as run:
        assert_shows_the_film(run)
        assert run.stop() == 0


def test_without_a_worker_there_is_a_line_and_photos_are_served(storage: Path, tmp_path: Path) -> None:
    key = {"PROFILE_SEARCH_MIN_SIMILARITY": "0.95"}
    with running(storage, tmp_path / "output", early=True, **key) as run:
        run.kill_worker()
        run.wait_for("No results of a video: The worker ended")
        run.wait_for("Ctrl-C stops everything.")
        assert requests.get(f"{run.address()}/healthz", timeout=10).ok
        assert run.stop() == 0
    assert left_over(storage) == []


def test_it_can_be_interrupted_while_the_video_is_processed(storage: Path, tmp_path: Path) -> None:
    key = {"PROFILE_SEARCH_MIN_SIMILARITY": "0.96"}
    with running(storage, tmp_path / "output", early=True, **key) as run:
        run.wait_for("Several faces")
        assert run.stop() == 0
        assert "Traceback" not in run.output
    assert left_over(storage) == []


def test_a_taken_port_is_stepped_over_and_a_wanted_one_is_said_to_be_taken(storage: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused = Run(tmp_path / "storage", tmp_path / "refused", PORT=port)
        assert refused.process.wait(60) == 1
        assert f"Port {port} is taken by" in refused.output
    default = Settings.model_fields["port"].default
    with socket.create_server(("127.0.0.1", default)), running(storage, tmp_path / "output") as run:
        assert f"Port {default} is taken; using" in run.output
        assert not run.address().endswith(f":{default}")
        assert requests.get(f"{run.address()}/healthz", timeout=10).ok
