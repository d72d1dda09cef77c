"""Where the time of one request goes: stages name themselves, and whoever answers reads the sums.

Below `recording()` a stage costs two readings of a clock; outside of it, nothing is kept. Threads that are started with
a copy of the context, as the shadow's are, record into the same request.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_recorded: ContextVar[dict[str, float] | None] = ContextVar("recorded_stages", default=None)


@contextmanager
def recording() -> Iterator[dict[str, float]]:
    """Collect the stages of what runs inside.

    :return: milliseconds by stage, in the order in which they first ended; filled as they end.
    """
    stages: dict[str, float] = {}
    token = _recorded.set(stages)
    try:
        yield stages
    finally:
        _recorded.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the time inside to the stage `name` (decode, detect, embed, pkl, pgvector, compare)."""
    started = time.perf_counter()
    try:
        yield
    finally:
        stages = _recorded.get()
        if stages is not None:
            stages[name] = stages.get(name, 0.0) + (time.perf_counter() - started) * 1000
