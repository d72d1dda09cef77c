"""The servers that profile search asks, for the benchmark: Milvus Lite, and what speaks MongoDB and S3 over a socket.

MongoDB's and S3's are the tests' own: they prove nothing about the speed of the real ones, and answer at once, whatever
the size of the index. How far away the real ones are, the proxies add.
"""

from __future__ import annotations

import multiprocessing
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.profile_vectors import metadata

PHOTO = b"\xff\xd8\xff" + bytes(30_000)  # begins as a JPEG; the contract's have 15 to 45 KB
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class StandInPorts:
    """Where the stand-ins of MongoDB and S3 listen."""

    mongo: int
    s3: int


@contextmanager
def milvus_lite(folder: Path) -> Iterator[int]:
    """The port of a server that keeps its collections in `folder`."""
    port = _free_port()
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder)]
    with (folder.parent / "milvus.log").open("ab") as log:
        server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log)
    try:
        _wait_for(port)
        yield port
    finally:
        server.kill()
        server.wait(30)


@contextmanager
def stand_ins() -> Iterator[StandInPorts]:
    """MongoDB and S3, in a process of their own: every entity has a document, and every key a photo."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        if not ours.poll(_START_S):
            raise TimeoutError("The stand-ins of MongoDB and S3 did not start.")
        yield StandInPorts(*ours.recv())
    finally:
        process.terminate()
        process.join()


def _serve(ports: Connection) -> None:
    from tests.integration.mongo_wire import MongoWire
    from tests.integration.s3_keepalive import KeepAliveS3

    class EveryEntity(MongoWire):
        """Has a document of each entity, found as by an index."""

        def answer(self, command: dict[str, Any]) -> dict[str, Any]:
            chosen = command.get("filter", {}).get("_entity_id", {}).get("$in")
            if "find" not in command or chosen is None:
                return super().answer(command)
            rows = [{"_entity_id": entity, "metadata": metadata(entity)} for entity in chosen]
            return {"cursor": {"id": 0, "ns": f"{command['$db']}.{command['find']}", "firstBatch": rows}, "ok": 1.0}

    class EveryPhoto(dict[str, bytes]):
        def __contains__(self, key: object) -> bool:
            return True

        def __getitem__(self, key: str) -> bytes:
            return PHOTO

    mongo, s3 = EveryEntity(), KeepAliveS3()
    s3.objects = EveryPhoto()
    mongo.start()
    s3.start()
    ports.send((mongo.port, s3.port))
    threading.Event().wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("Milvus Lite did not start.")
