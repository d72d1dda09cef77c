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

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running(storage: Path, output: Path, **variables: str) -> Iterator[Run]:
    run = Run(storage, output, **variables)
    try:
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
        assert run.stop() == 0
    assert left_over(storage) == []


def test_the_second_start_changes_nothing(storage: Path, tmp_path: Path) -> None:
    before = state_of(storage)
    with running(storage, tmp_path / "output") as run:
        assert run.stop() == 0
    assert state_of(storage) == before


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
