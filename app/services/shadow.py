"""Runs a candidate beside the control, within a time limit of its own (after GitHub's scientist, which has none)."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from app.errors import AppError, StoreTimeout

log = structlog.get_logger(__name__)

_LATE_IN_A_ROW = 5
_RESTS = "The candidate is not asked for a moment: several in a row did not answer within the limit."

T = TypeVar("T")
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What one side gave: a value or an error, and how long it took in milliseconds."""

    value: T | None
    error: AppError | None
    duration_ms: float


class Shadow:
    """A small pool of threads in which candidates run; the control runs in the caller's thread.

    :param limit_s: how long a candidate may take, counted from its start.
    :param threads: candidates at a time, at least as many as requests at a time.
    :param rest_s: after several in a row that missed the limit, none is asked for so long: each keeps its request
        waiting, and those who queue behind it. They count as timeouts, because they gave no answer.
    """

    def __init__(self, limit_s: float = 0.5, threads: int = 4, rest_s: float = 2.0) -> None:
        self.limit_s = limit_s
        self._rest_s = rest_s
        self._late = 0  # candidates in a row that missed the limit
        self._rest_until = 0.0
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="candidate")

    def run(self, control: Callable[[], C], candidate: Callable[[], T]) -> tuple[C, float, Outcome[T]]:
        """The control's value, its duration in ms, and what became of the candidate.

        :raises: whatever the control raises; the candidate's failure is only ever an `Outcome`.
        """
        started = time.perf_counter()
        if time.monotonic() < self._rest_until:
            return control(), _ms_since(started), Outcome(None, _timeout(_RESTS), 0.0)
        future = self._pool.submit(contextvars.copy_context().run, _observe, candidate)
        try:
            value = control()
        except BaseException:
            future.cancel()
            raise
        control_ms = _ms_since(started)
        return value, control_ms, self._wait(future, started)

    def _wait(self, future: Future[Outcome[T]], started: float) -> Outcome[T]:
        remaining = self.limit_s - (time.perf_counter() - started)
        try:
            outcome = future.result(timeout=max(0.0, remaining))
        except TimeoutError:
            future.cancel()
            self._late += 1
            if self._late >= _LATE_IN_A_ROW:
                self._rest_until = time.monotonic() + self._rest_s
            late = f"The candidate did not answer within {self.limit_s * 1000:.0f} ms."
            return Outcome(None, _timeout(late), _ms_since(started))
        self._late = 0
        return outcome

    def close(self) -> None:
        """Let running candidates end; start no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _observe(candidate: Callable[[], T]) -> Outcome[T]:
    started = time.perf_counter()
    try:
        return Outcome(candidate(), None, _ms_since(started))
    except AppError as error:
        return Outcome(None, error, _ms_since(started))
    except Exception as error:  # the shadow's boundary: nothing of the candidate may surface
        log.exception("DUAL-MODE candidate failed unexpectedly")
        return Outcome(None, AppError(f"Unexpected {type(error).__name__} in the candidate."), _ms_since(started))


def _timeout(message: str) -> StoreTimeout:
    return StoreTimeout(message, code="candidate_timeout")


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)
