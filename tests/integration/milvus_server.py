"""Milvus Lite as a server in a process of its own, which can be stopped, and a gallery that is searched in it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.adapters.milvus_connection import Milvus
from app.adapters.milvus_gallery import CollectionOptions, MilvusGallery
from app.adapters.postgres import Database
from app.domain import EmbeddingSpec
from app.errors import StoreUnavailable
from app.services.mirror.mirrored_gallery import MirroredGallery
from app.services.mirror.outbox import Outbox
from app.services.mirror.sync import MirrorSync
from app.services.vector_db_service import VectorDbService

READY_WITHIN_S = 60


class MilvusServer:
    """A server on a port of its own, which it keeps when it is started again.

    :param folder: where it keeps its collections.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._indexes: list[MilvusGallery] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(self._folder)]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with (self._folder.parent / "milvus.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        index = self.index("ready", dimensions=2)
        for _ in range(READY_WITHIN_S):
            if _answers(index):
                return
            time.sleep(0.5)

    def kill(self) -> None:
        """End it as a crash does; what it had confirmed is there when it is started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def close(self) -> None:
        """Close the clients and end the server."""
        for index in self._indexes:
            index.close()
        self.kill()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """The server accepts connections, and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def index(self, collection: str, dimensions: int) -> MilvusGallery:
        """A client of its own."""
        options = CollectionOptions(collection, dimensions, index="FLAT")
        self._indexes.append(MilvusGallery(Milvus(self.uri, ""), options))
        return self._indexes[-1]


def _answers(index: MilvusGallery) -> bool:
    try:
        index.require_ready(1.0)
    except StoreUnavailable as error:
        return error.error_code == "gallery_not_synced"
    return True


@dataclass(frozen=True)
class Mirrored:
    """A database with a collection of its own beside it."""

    index: MilvusGallery
    vector_db: VectorDbService
    outbox: Outbox
    gallery: MirroredGallery
    sync: MirrorSync

    def copy(self) -> None:
        self.sync.prepare()
        self.sync.copy(lambda _faces: None)


def mirrored(server: MilvusServer, database: Database, spec: EmbeddingSpec, collection: str | None = None) -> Mirrored:
    """The parts as the composition root puts them together.

    :param collection: None for a new one.
    """
    index = server.index(collection or f"test_{uuid.uuid4().hex}", spec.dimensions)
    outbox, vector_db = Outbox(database, spec, index), VectorDbService(database, spec)
    gallery = MirroredGallery(database, spec, vector_db, index, outbox)
    return Mirrored(index, vector_db, outbox, gallery, MirrorSync(database, spec, index, outbox))
