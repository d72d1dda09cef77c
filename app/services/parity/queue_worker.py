"""A bounded queue and the one thread that works it off, away from the requests."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_IDLE_S = 0.5  # how often an idle thread looks whether it is to end or has a chore


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How a queue is worked off.

    :param capacity: items that may wait.
    :param batch: items at a time at most.
    :param gather_s: how long a batch that is not full waits for more items after its first.
    :param retry_s: how long the thread waits before it tries a batch again.
    :param rests: whether the thread rests after each batch for as long as it worked, so that it never takes more than
        half of a processor or of a connection.
    """

    name: str
    capacity: int
    batch: int = 1
    gather_s: float = 0.0
    retry_s: float = 1.0
    rests: bool = False


class QueueWorker(Generic[T]):
    """Works items off in their order; the thread starts with the first item, and so after a fork.

    :param work: does a batch; False to be given the same batch again later. It does not raise.
    :param chore: called about twice a second between batches.
    """

    def __init__(
        self, work: Callable[[list[T]], bool], options: QueueOptions, chore: Callable[[], None] = lambda: None
    ) -> None:
        self._work = work
        self._options = options
        self._chore = chore
        self._queue: queue.Queue[T] = queue.Queue(options.capacity)
        self._closing, self._abandoned = threading.Event(), threading.Event()
        self._starting = threading.Lock()
        self._in_work: list[T] = []
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Items that are not done yet."""
        return self._queue.unfinished_tasks

    def offer(self, item: T) -> bool:
        """Queue the item; False where the queue is full or closed."""
        if self._closing.is_set():
            return False
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            return False
        self._ensure_started()
        return True

    def start(self) -> None:
        """Begin now, and not with the first item: there may be a chore to do."""
        self._ensure_started()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything queued is done; False where that takes longer."""
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, timeout_s)

    def close(self, timeout_s: float) -> list[T]:
        """Take nothing more, and work off what is queued; the items that were left undone when the time was over."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._abandoned.set()
        return [*self._in_work, *self._queued(self._queue.maxsize)]

    def _ensure_started(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._options.name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._abandoned.is_set():
            batch = self._next_batch()
            if batch:
                self._finish(batch)
            elif self._closing.is_set():
                return
            if not self._closing.is_set():
                self._chore()

    def _next_batch(self) -> list[T]:
        try:
            batch = [self._queue.get(timeout=_IDLE_S)]
        except queue.Empty:
            return []
        if self._options.gather_s and self._queue.qsize() < self._options.batch:
            self._closing.wait(self._options.gather_s)
        return batch + self._queued(self._options.batch - 1)

    def _queued(self, most: int) -> list[T]:
        """So many items at most, without waiting for any."""
        found: list[T] = []
        while len(found) < most:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return found

    def _finish(self, batch: list[T]) -> None:
        started = time.monotonic()
        self._in_work = batch
        while not self._work(batch):
            if self._abandoned.wait(self._options.retry_s):
                return
        self._in_work = []
        for _ in batch:
            self._queue.task_done()
        if self._options.rests:
            self._closing.wait(time.monotonic() - started)
