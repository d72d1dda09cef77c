"""A vendor's client that no caller waits for longer than it said, one per process.

A vendor's own limits leave gaps: none bounds the look-up of a name, and a limit on each read is none on an answer that
comes drop by drop. So a call runs in a thread that the caller leaves behind at the limit. A client must not cross a
fork either: a shared one of boto3 gave one process the answer to another's question.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from app.errors import StoreTimeout

_GRACE_S = 0.1  # for the vendor's own limit, which can say more of what went wrong


class Closeable(Protocol):
    """A vendor's client."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closeable)
T = TypeVar("T")


class _Process(Generic[C]):
    """What one process has: its threads, and its client once a call has needed it."""

    def __init__(self, make: Callable[[], C], threads: int, store: str) -> None:
        self.pool = ThreadPoolExecutor(threads, store.lower())
        self.made: C | None = None
        self._make = make
        self._making = threading.Lock()

    def client(self, timeout_s: float) -> C | None:
        """The client; None where another call is still making it when the time is over."""
        if self.made is None and self._making.acquire(timeout=max(timeout_s, 0)):
            try:
                self.made = self.made or self._make()
            finally:
                self._making.release()
        return self.made


class BoundedClient(Generic[C]):
    """Calls of one store.

    :param make: makes the vendor's client; called in each process when it first asks, in one of its threads.
    :param threads: calls at a time; further ones wait, within their limits.
    :param store: its name, for sentences.
    """

    def __init__(self, make: Callable[[], C], threads: int, store: str) -> None:
        self._make, self._threads, self._store = make, threads, store
        self._processes: dict[int, _Process[C]] = {}

    def call(self, ask: Callable[[C, float], T], timeout_s: float) -> T:
        """What `ask` returns or raises, which is given the client and the seconds that are left.

        :raises StoreTimeout: nothing came within `timeout_s`, and 0.1 s.
        """
        process, deadline = self._process(), time.monotonic() + timeout_s

        def run() -> T:
            client = process.client(deadline - time.monotonic())
            left_s = deadline - time.monotonic()
            if client is None or left_s <= 0:
                raise self.late()
            return ask(client, left_s)

        future = process.pool.submit(run)
        try:
            return future.result(timeout_s + _GRACE_S)
        except TimeoutError:
            future.cancel()
            raise self.late() from None

    def late(self) -> StoreTimeout:
        """The error of an answer that did not come in time."""
        return StoreTimeout(f"{self._store} did not answer within the time limit.")

    def close(self) -> None:
        """Close this process's client; a later call makes another."""
        process = self._processes.pop(os.getpid(), None)
        if process is not None:
            process.pool.shutdown(wait=False, cancel_futures=True)
            if process.made is not None:
                process.made.close()

    def _process(self) -> _Process[C]:
        pid = os.getpid()
        return self._processes.get(pid) or self._processes.setdefault(
            pid, _Process(self._make, self._threads, self._store)
        )
