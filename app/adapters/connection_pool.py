"""One process's connections to Postgres that nobody uses at the moment, and how many may be in use at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.errors import StoreUnavailable


class ConnectionPool:
    """Idle connections, the last one given back first, and a count of those in use.

    :param size: connections in use at a time.
    """

    def __init__(self, size: int) -> None:
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._slots = threading.BoundedSemaphore(size)

    @contextmanager
    def slot(self, wait_s: float) -> Iterator[None]:
        """The right to use one connection."""
        if not self._slots.acquire(timeout=wait_s):
            raise StoreUnavailable(
                "All database connections of this process are in use; raise DATABASE_POOL_SIZE.", code="pool_exhausted"
            )
        try:
            yield
        finally:
            self._slots.release()

    def take(self) -> Any:
        """An idle connection, or None."""
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return None

    def give_back(self, connection: Any) -> None:
        if connection.closed:
            self.clear()  # what ended this connection has ended the others too
        else:
            self._idle.put(connection)

    def clear(self) -> None:
        while (connection := self.take()) is not None:
            connection.close()
