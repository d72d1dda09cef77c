"""An installation to back up: a database of two domains, and the files beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from app.adapters.embedded_postgres.programs import binaries
from app.adapters.pg_tools import PgTools
from app.adapters.pkl.live import LivePklGalleries
from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.snapshots import PklSnapshots
from app.adapters.pkl.writer import write_pkl
from app.adapters.postgres import Database
from app.domain import EmbeddingSpec, FaceBox, GalleryFace
from app.services.backup.backup_files import Places
from app.services.backup.backup_folder import BackupFolder, Retention
from app.services.backup.backup_service import BackupReport, BackupService, Source
from app.services.backup.restore_proof import Check
from app.services.backup.restore_service import RestoreOptions, RestoreService
from app.services.vector_db_service import VectorDbService
from tests.integration.galleries import spec_of

SPEC = spec_of(32)


def faces_of(person: str, images: int, seed: int) -> list[GalleryFace]:
    vectors = np.random.default_rng(seed).normal(size=(images, SPEC.dimensions)).astype(np.float32)
    box = FaceBox(1, 2, 30, 40)
    return [GalleryFace(person, f"{person}/{number}.jpg", box, vector) for number, vector in enumerate(vectors)]


SERBIA = [face for number in range(20) for face in faces_of(f"Person {number:03d}", 3, number)]
SLOVENIA = [face for number in range(4) for face in faces_of(f"Oseba {number}", 2, 100 + number)]


class House:
    """A database and the files beside it, as one installation has them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.places = Places(folder / "galleries", folder / "tokens.json")
        self.vector_db = VectorDbService(database, SPEC)
        self.backups = BackupFolder(folder / "backups")
        self.tools = PgTools([binaries()])

    def fill(self) -> None:
        for domain, faces in (("serbia", SERBIA), ("slovenia", SLOVENIA)):
            self.vector_db.add_faces(domain, faces)
            self.vector_db.ensure_index(domain)
            root = self.places.galleries / domain
            root.mkdir(parents=True)
            write_pkl(root / pkl_names(SPEC)[0], faces, root)
        (root / "Oseba 0").mkdir()
        (root / "Oseba 0" / "0.jpg").write_bytes(b"photo")
        self.places.tokens.write_text('{"tokens": []}')

    def back_up(self, photos: bool = False, tools: PgTools | None = None) -> BackupReport:
        source = Source(self.places, "test", lambda _domain: nullcontext())
        return BackupService(self.database, tools or self.tools, source).make(self.backups, photos, Retention())

    def restore(self, backup: Path, options: RestoreOptions | None = None) -> dict[str, Check]:
        service = RestoreService(self.tools, self.places, self.pkl_galleries)
        report = service.restore(backup, lambda: self.database, options or RestoreOptions())
        return {check.name: check for check in report.checks}

    def pkl_galleries(self, spec: EmbeddingSpec) -> LivePklGalleries:
        snapshots = PklSnapshots(self.places.galleries, self.folder / "cache", spec, {})
        return LivePklGalleries(snapshots, self.places.galleries, lambda _domain: None)

    def counts(self) -> dict[str, int]:
        return {domain: count.embeddings for domain, count in self.vector_db.counts().items()}

    @contextmanager
    def being_written(self) -> Iterator[None]:
        """Faces keep coming in until the block ends, and some came before it begins."""
        ended, began = threading.Event(), threading.Event()

        def write() -> None:
            number = 1000
            while not ended.is_set():
                self.vector_db.add_faces("serbia", faces_of(f"Person {number}", 2, number))
                began.set()
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        assert began.wait(30)
        try:
            yield
        finally:
            ended.set()
            writer.join()


class LateTools(PgTools):
    """Lets others write between the counting and the dump, however fast the machine is."""

    def __init__(self, house: House) -> None:
        super().__init__([binaries()])
        self._house = house

    def dump(self, database: Database, snapshot: str, to: Path) -> str:
        self._house.vector_db.add_faces("serbia", faces_of("Latecomer", 5, 77))
        return super().dump(database, snapshot, to)


def old_programs(folder: Path) -> Path:
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (folder / name).write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) 9.6.24" || exit 1\n')
        (folder / name).chmod(0o755)
    return folder
