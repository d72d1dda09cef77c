"""Starts a service under gunicorn, asks it until it answers, and weighs its processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).parents[1]
MB = 1e6  # the goals are in MB, which is the stricter unit
_READY_WITHIN_S = 120.0
_POLL_S = 0.01
_STOP_WITHIN_S = 40.0


@dataclass(frozen=True, slots=True)
class Service:
    """What is started, and how one photo is sent to it.

    :param arguments: gunicorn's.
    :param path: where photos are sent; `photo` is `requests`' arguments for one of them.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    path: str
    photo: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Weight:
    """A process' memory in MB: resident, with shared pages in proportion, and its own alone (proc(5), smaps)."""

    rss: float
    pss: float
    uss: float

    @classmethod
    def of(cls, process: psutil.Process) -> Weight:
        memory = process.memory_full_info()
        return cls(memory.rss / MB, memory.pss / MB, memory.uss / MB)


@dataclass(frozen=True, slots=True)
class Running:
    """A service that has answered.

    :param first_answer_s: seconds from exec to the first answer.
    """

    address: str
    service: Service
    process: psutil.Process
    first_answer_s: float
    log: Path

    def ask(self) -> float:
        """Send the photo; milliseconds to the answer."""
        began = time.perf_counter()
        requests.post(f"{self.address}{self.service.path}", timeout=60, **self.service.photo).raise_for_status()
        return (time.perf_counter() - began) * 1000

    def ask_often(self, photos: int, clients: int) -> None:
        """Send the photo so many times, from several clients at once, so that every worker gets its share."""
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda _: self.ask(), range(photos)))

    @property
    def workers(self) -> list[psutil.Process]:
        return self.process.children()

    def logged(self, event: str) -> dict[str, Any]:
        """The first line of that event in the service's log."""
        lines = (line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("{"))
        return next((entry for line in lines if (entry := json.loads(line)).get("event") == event), {})


@contextmanager
def running(service: Service, log: Path) -> Iterator[Running]:
    """Start the service and wait for its first answer; stop it at the end.

    :raises RuntimeError: it ended, or did not answer in time; with the end of its log.
    """
    port = _free_port()
    command = [sys.executable, "-m", "gunicorn", *service.arguments, "--bind", f"127.0.0.1:{port}"]
    environment = os.environ | dict(service.environment) | {"PORT": str(port)}
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for_answer(process, address, service, log)
        yield Running(address, service, psutil.Process(process.pid), time.perf_counter() - began, log)
    finally:
        process.terminate()
        process.wait(_STOP_WITHIN_S)


def postgres_weight(pgdata: Path) -> float:
    """MB of a server and all its processes, shared pages counted once."""
    postmaster = psutil.Process(int((pgdata / "postmaster.pid").read_text().splitlines()[0]))
    total = 0.0
    for process in (postmaster, *postmaster.children(recursive=True)):
        try:
            total += Weight.of(process).pss
        except psutil.NoSuchProcess:
            continue  # a connection that has just ended
    return total


def mapped_below(process: psutil.Process, folder: Path) -> float:
    """MB of a process' own, unshared, in files mapped from below a folder."""
    maps = process.memory_maps(grouped=True)
    return float(sum(m.private_clean + m.private_dirty for m in maps if m.path.startswith(str(folder)))) / MB


def _wait_for_answer(process: subprocess.Popen[bytes], address: str, service: Service, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            response = requests.post(f"{address}{service.path}", timeout=60, **service.photo)
        except requests.ConnectionError:
            time.sleep(_POLL_S)
            continue
        if response.ok:
            return
        raise RuntimeError(f"{response.status_code}: {response.text[:500]}\n{_tail(log)}")
    raise RuntimeError(f"the service did not start:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
