"""Embedding workers as processes of this machine, each with its own model; a worker that dies is replaced.

`concurrent.futures` gives a pool up when one of its processes dies, and `multiprocessing.Pool` waits for its result for
ever; here each worker has a pipe of its own, whose end tells.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from app.adapters.embedding.jobs import AHEAD, Backlog, EmbedPhoto, Job
from app.adapters.embedding.one_thread import ONE_THREAD, limit_threads
from app.errors import AppError, StartupError

_FAILED_STARTS = 3  # in a row, after which it is no accident
_END_WITHIN_S = 10.0

_SPAWN = get_context("spawn")  # a fork would inherit database connections and loaded runtimes


class ProcessPool:
    """Embeds photos in `workers` processes, which are started when the first photo comes.

    :param build: run in each worker, so it is pickled; makes the function that embeds.
    """

    def __init__(self, build: Callable[[], EmbedPhoto], workers: int) -> None:
        self._build = build
        self._workers = workers

    def embed(self, photos: Iterable[tuple[str, bytes]]) -> Generator[tuple[str, Any], None, None]:
        """Embed each photo, in any order.

        :param photos: keys and bytes, taken as workers get free.
        :return: each key with what the worker's function gave, or None where workers died twice over the photo.
        :raises StartupError: workers cannot be started; AppError: as `build` or its function raised it.
        """
        crew = _Crew(self._build, self._workers, Backlog(photos))
        try:
            while crew.hand_out():
                for worker in crew.heard_from():
                    yield from crew.listen(worker)
        finally:
            crew.dismiss()


class _Worker:
    """The parent's side of one worker."""

    def __init__(self, build: Callable[[], EmbedPhoto]) -> None:
        os.environ.update(ONE_THREAD)  # inherited by the worker; the libraries of this process are loaded already
        self.pipe, theirs = _SPAWN.Pipe()
        self.jobs: deque[Job] = deque()
        self.is_ready = False
        self._process = _SPAWN.Process(target=_work, args=(theirs, build))
        self._process.start()
        theirs.close()  # only the worker holds it now: its death is the pipe's end

    def give(self, job: Job) -> None:
        self.jobs.append(job)
        with suppress(OSError):  # it is dead; reading from the pipe will tell
            self.pipe.send_bytes(job.photo)

    def end(self) -> int | None:
        """Close the pipe, at which the worker ends after the photo it is at; its exit code."""
        self.pipe.close()
        self._process.join(_END_WITHIN_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        return self._process.exitcode


class _Crew:
    """The workers of one `embed`."""

    def __init__(self, build: Callable[[], EmbedPhoto], size: int, backlog: Backlog) -> None:
        self._build = build
        self._size = size
        self._backlog = backlog
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def hand_out(self) -> bool:
        """Give the workers what they can take, and start those that are missing; whether any has work."""
        while self._has_room():
            job = self._backlog.next()
            if job is None:
                break
            self._least_busy().give(job)
        return any(worker.jobs for worker in self._workers)

    def heard_from(self) -> list[_Worker]:
        """The workers that said something, or died."""
        ready = set(connection.wait([worker.pipe for worker in self._workers]))
        return [worker for worker in self._workers if worker.pipe in ready]

    def listen(self, worker: _Worker) -> Iterator[tuple[str, Any]]:
        """One message of a worker's, as results."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(worker)
            return
        if isinstance(message, AppError):
            raise message
        if not worker.is_ready:
            worker.is_ready, self._failed_starts = True, 0
            return
        yield worker.jobs.popleft().key, message

    def dismiss(self) -> None:
        for worker in self._workers:
            worker.pipe.close()  # all of them, before the first is waited for
        for worker in self._workers:
            worker.end()

    def _has_room(self) -> bool:
        return len(self._workers) < self._size or any(len(worker.jobs) < AHEAD for worker in self._workers)

    def _least_busy(self) -> _Worker:
        worker = min(self._workers, key=lambda worker: len(worker.jobs), default=None)
        if worker is None or (worker.jobs and len(self._workers) < self._size):
            worker = _Worker(self._build)
            self._workers.append(worker)
        return worker

    def _bury(self, worker: _Worker) -> Iterator[tuple[str, Any]]:
        self._workers.remove(worker)
        exit_code = worker.end()
        self._failed_starts += not worker.is_ready
        if self._failed_starts == _FAILED_STARTS:
            raise StartupError(
                f"Workers end before they are ready (exit code {exit_code}): is there memory for {self._size} models?"
            )
        for key in self._backlog.take_back(list(worker.jobs), blame_first=worker.is_ready):
            yield key, None


def _work(pipe: Connection, build: Callable[[], EmbedPhoto]) -> None:
    """A worker's life: build, then embed until the pipe ends."""
    # Ctrl-C and systemd's SIGTERM go to the whole group; the parent finishes what is in flight, then ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    inbox: SimpleQueue[bytes | None] = SimpleQueue()
    # Photos are received while another is embedded: a parent that has to wait to send could not hear the others.
    threading.Thread(target=_receive, args=(pipe, inbox), daemon=True).start()
    try:
        limit_threads()
        embed = build()
        pipe.send(None)  # ready
        while (photo := inbox.get()) is not None:
            pipe.send(embed(photo))
    except AppError as error:
        pipe.send(error)
    except BrokenPipeError:
        pass  # the parent is gone


def _receive(pipe: Connection, inbox: SimpleQueue[bytes | None]) -> None:
    try:
        while True:
            inbox.put(pipe.recv_bytes())
    except (EOFError, OSError):
        inbox.put(None)
