"""One thread per worker process: with as many workers as cores, the libraries' own threads only get in the way."""

from __future__ import annotations

from app import thread_limits

# Read when the libraries are loaded, so a worker must be started with them.
ONE_THREAD = thread_limits.thread_variables(1)


def limit_threads() -> None:
    """Have every library work in the calling thread; before any model is loaded."""
    thread_limits.limit_threads(1)
