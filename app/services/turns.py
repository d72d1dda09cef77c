"""Photos take turns: a worker computes one at a time, a few wait in the order they came, the rest are told to return.

One at a time because more only get in each other's way: dlib's recogniser keeps Python's lock for 70 ms a face, so that
a search beside it, with four or more round trips to the database, would wait for another photo at each of them. And the
cores are all busy: there is a worker for each (`systemd/gunicorn.conf.py`).
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import structlog

from app.errors import Overloaded
from app.timing import stage

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_NEWEST_WEIGHT = 0.2  # of the last turn's length in the running mean


@dataclass(frozen=True, slots=True)
class Load:
    """How busy this process is now, and what became of those who asked since it started.

    :param photos: in work or waiting for their turn.
    """

    photos: int
    served: int
    refused: int


class Turns:
    """A queue with an end, in the order of arrival.

    :param max_waiting: how many may wait; who comes then is refused at once.
    :param wait_limit_s: how long one waits before being refused.
    """

    def __init__(self, max_waiting: int, wait_limit_s: float) -> None:
        self._max_waiting = max_waiting
        self._wait_limit_s = wait_limit_s
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()
        self._is_taken = False
        self._mean_turn_s = 0.0
        self._served = self._refused = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only one to compute; the time until then is the stage `wait`.

        :raises Overloaded: too many are waiting, or one waited too long.
        """
        with stage("wait"):
            self._enter()
        started = time.perf_counter()
        try:
            yield
        finally:
            self._leave(time.perf_counter() - started)

    def in_turn(self, function: Callable[P, T]) -> Callable[P, T]:
        """`function`, each call of which takes a turn."""

        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.turn():
                return function(*args, **kwargs)

        return called

    def require_room(self) -> None:
        """Refuse before a photo is even read where it could not wait.

        :raises Overloaded: too many are waiting.
        """
        with self._lock:
            if len(self._queue) >= self._max_waiting > 0:
                raise self._refusal()

    @property
    def load(self) -> Load:
        with self._lock:
            return Load(len(self._queue) + self._is_taken, self._served, self._refused)

    def _enter(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            if len(self._queue) >= self._max_waiting:
                raise self._refusal()
            called = threading.Event()
            self._queue.append(called)
        if not called.wait(self._wait_limit_s):
            self._give_up(called)

    def _give_up(self, called: threading.Event) -> None:
        with self._lock:
            if called.is_set():  # in this very moment: the turn is ours
                return
            self._queue.remove(called)
            raise self._refusal()

    def _leave(self, took_s: float) -> None:
        with self._lock:
            self._served += 1
            self._mean_turn_s += (took_s - self._mean_turn_s) * (_NEWEST_WEIGHT if self._mean_turn_s else 1.0)
            if self._queue:
                self._queue.popleft().set()  # the turn passes on, so nobody who comes now can push in
            else:
                self._is_taken = False

    def _refusal(self) -> Overloaded:
        """What a refused request is told; the caller holds the lock."""
        self._refused += 1
        retry_after_s = max(1, math.ceil((len(self._queue) + 1) * self._mean_turn_s))
        log.warning("overloaded", waiting=len(self._queue), refused_since_start=self._refused)
        return Overloaded(retry_after_s)
