"""A connection to a Ray cluster, or to a local Ray; the only importer of ray, which is an optional extra."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import app
from app.adapters.embedding.one_thread import ONE_THREAD
from app.errors import StartupError, StoreUnavailable

_ANSWER_WITHIN_S = 5.0

_ROOT = Path(app.__file__).parents[1]
# The nodes get the code from here. Ray also leaves out what .gitignore names: storage, with its photos, stays.
_NOT_SENT = [".git", "tests", "docs", "deploy", "storage", ".venv"]


@contextmanager
def connected(address: str | None, workers: int) -> Iterator[Any]:
    """`ray`, connected to a cluster until the end of the block.

    :param address: of an existing cluster, as `ray.init` takes it; None for a local Ray that ends with the block.
    :param workers: cores of a local Ray.
    :raises StartupError: ray is not installed; StoreUnavailable: no cluster answers at the address.
    """
    try:
        import ray
    except ImportError as exc:
        raise StartupError("Ray is not installed: pip install -r requirements-ray.txt") from exc
    if address:
        _require_open(address)
    options: dict[str, Any] = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
    environment = {"working_dir": str(_ROOT), "excludes": _NOT_SENT, "env_vars": ONE_THREAD}
    try:
        ray.init(runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError, RuntimeError) as exc:
        raise _unavailable() from exc
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_open(address: str) -> None:
    """Ray tries for minutes, and then ends the process, where nothing listens at `host:port`."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # `auto`, or a name
    try:
        socket.create_connection((host, int(port)), _ANSWER_WITHIN_S).close()
    except (OSError, OverflowError) as exc:
        raise _unavailable() from exc


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable(
        "No Ray cluster answers at that address, or it refuses this host: where it asks for a token, as Ray does by "
        "default, set RAY_AUTH_MODE=token and put the cluster's token where Ray looks for it.",
        code="ray_unavailable",
    )
