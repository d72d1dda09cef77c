"""Clients that ask one request after the other, and what they saw."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any

import psutil
import requests
from urllib3.filepost import encode_multipart_formdata

_TIMEOUT_S = 120
_AFTER_A_REFUSAL_S = 0.2
_WARMING_UP = 4


@dataclass(frozen=True, slots=True)
class Target:
    """A service that is asked: where, with which bodies, and how its answer names the persons it found.

    :param bodies: one for each photo, with its content type.
    :param cpu_of: processes whose CPU time the requests cost, with their children.
    """

    name: str
    url: str
    headers: dict[str, str]
    bodies: Sequence[tuple[bytes, str]]
    persons_of: Callable[[Any], frozenset[str]]
    cpu_of: Sequence[psutil.Process]

    def ask(self, session: requests.Session, photo: int) -> requests.Response:
        """One request."""
        body, content_type = self.bodies[photo % len(self.bodies)]
        headers = self.headers | {"Content-Type": content_type}
        return session.post(self.url, data=body, headers=headers, timeout=_TIMEOUT_S)


@dataclass(slots=True)
class Seen:
    """What the clients of one target saw, over all rounds.

    :param times_ms: of the requests that were answered with 200.
    """

    times_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lasted_s: float = 0.0
    cpu_s: float = 0.0
    broken: int = 0

    @property
    def throughput_rps(self) -> float:
        return len(self.times_ms) / self.lasted_s

    @property
    def refused_share(self) -> float:
        return self.statuses[HTTPStatus.SERVICE_UNAVAILABLE] / max(1, self.statuses.total())

    @property
    def cpu_s_per_request(self) -> float:
        return self.cpu_s / max(1, len(self.times_ms))


def multipart(fields: dict[str, str], file_field: str, photo: bytes) -> tuple[bytes, str]:
    """The body of an upload and its content type."""
    return encode_multipart_formdata({**fields, file_field: ("photo.jpg", photo, "image/jpeg")})


def answers(target: Target) -> list[frozenset[str]]:
    """For each photo, the persons that were found; before that, a few requests that warm the service up.

    :raises requests.HTTPError: a photo was not answered.
    """
    found = []
    with requests.Session() as session:
        for photo in range(-_WARMING_UP, len(target.bodies)):
            response = target.ask(session, photo)
            response.raise_for_status()
            found.append(target.persons_of(response.json()))
    return found[_WARMING_UP:]


def run_clients(target: Target, clients: int, seconds: float, seen: Seen) -> None:
    """Have so many clients ask for so long, each its next question when it has its answer, and add what they saw."""
    photos, lock = count(), threading.Lock()
    before, started = _cpu_s(target.cpu_of), time.perf_counter()

    def client() -> None:
        with requests.Session() as session:
            while time.perf_counter() < started + seconds:
                _ask_once(target, session, next(photos), seen, lock)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen.lasted_s += time.perf_counter() - started
    seen.cpu_s += _cpu_s(target.cpu_of) - before


def _ask_once(target: Target, session: requests.Session, photo: int, seen: Seen, lock: threading.Lock) -> None:
    asked = time.perf_counter()
    try:
        status = target.ask(session, photo).status_code
    except requests.RequestException:
        with lock:
            seen.broken += 1
        return
    took_ms = (time.perf_counter() - asked) * 1000
    with lock:
        seen.statuses[status] += 1
        if status == HTTPStatus.OK:
            seen.times_ms.append(took_ms)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        time.sleep(_AFTER_A_REFUSAL_S)


def _cpu_s(parents: Sequence[psutil.Process]) -> float:
    """CPU seconds of the processes and of all below them, which live on between the two readings."""
    times = [p.cpu_times() for parent in parents for p in (parent, *parent.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))
