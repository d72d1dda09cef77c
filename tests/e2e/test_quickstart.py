"""`make run` as a new user sees it: it answers, says where it serves, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from config import Settings
from scripts import demo_faces

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields}
    return inherited | {"STORAGE_DIR": str(tmp_path / "storage"), "COLUMNS": "140", "PYTHONUNBUFFERED": "1"}


class Run:
    """One run of the quick start and what it printed so far."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "scripts.quickstart"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.output = ""
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, text: str, seconds: int = 120) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"never printed {text!r}:\n{self.output}")
            time.sleep(0.1)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture
def run(environment: dict[str, str]) -> Iterator[Run]:
    started = Run(environment)
    yield started
    if started.process.poll() is None:
        started.stop()


def left_over(storage: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if str(storage) in " ".join(process.cmdline()) or process.environ().get("STORAGE_DIR") == str(storage):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_it_prints_dual_mode_answers_serves_and_ends_everything_it_started(run: Run, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    photo, person = demo_faces.known_probe()
    run.wait_for("Ctrl-C stops everything.")
    shown = run.output
    assert person in shown
    assert "unknown" in shown
    assert "true" in shown
    assert "false" not in shown
    token = (storage / "demo" / "token").read_text().strip()
    assert token not in shown
    assert (storage / "demo" / "token").stat().st_mode & 0o777 == 0o600
    address = re.search(r"Serving at (http://\S+),", shown)
    assert address is not None
    answer = requests.post(
        f"{address[1]}/recognize", headers={"Authorization": token}, files={"image": photo}, timeout=60
    ).json()
    assert answer["comparison"]["top1_match"] is True
    assert run.stop() == 0
    assert left_over(storage) == []


def test_the_second_start_changes_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    states = []
    for _ in range(2):
        run = Run(environment)
        run.wait_for("Ctrl-C stops everything.")
        assert run.stop() == 0
        galleries = (tmp_path / "storage" / "galleries").rglob("*.*")
        states.append({p: p.stat().st_mtime_ns for p in galleries if p.is_file()})
        states[-1][Path("token")] = hash((tmp_path / "storage" / "demo" / "token").read_text())
    assert states[0] == states[1]


def test_a_taken_port_is_stepped_over_and_a_wanted_one_is_said_to_be_taken(environment: dict[str, str]) -> None:
    first = Run(environment)
    try:
        first.wait_for("Ctrl-C stops everything.")
        taken = re.search(r"http://[^:]+:(\d+)", first.output)
        assert taken is not None
        second = Run(environment | {"PORT": taken[1], "STORAGE_DIR": environment["STORAGE_DIR"] + "-2"})
        assert second.process.wait(60) == 1
        time.sleep(0.5)
        assert f"Port {taken[1]} is taken by" in second.output
    finally:
        first.stop()
