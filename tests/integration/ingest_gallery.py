"""A gallery folder of real faces, a database, and the script that brings the one into the other."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.postgres import Database
from config import Settings
from scripts import demo_faces

ROOT = Path(__file__).parents[2]
DOMAIN = "demo"

_FACES = """
SELECT f.image, p.name, f.image_sha256, f.box_x, f.box_y, f.box_w, f.box_h, f.embedding::text
FROM face_embeddings AS f JOIN persons AS p ON p.id = f.person_id ORDER BY 1, 4, 5
"""


@dataclass
class Run:
    """What a finished run of the script left behind."""

    code: int
    output: str
    log: str

    @property
    def embedded(self) -> int:
        """Photos that went through a worker's model, whatever came of them."""
        return self.log.count("ingest.embedded")


@dataclass
class IngestGallery:
    """Runs `scripts.generate_embeddings_to_db` as an operator does."""

    storage: Path
    database: Database
    database_url: str
    extra: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, storage: Path, database: Database, server: EmbeddedPostgres, persons: int) -> IngestGallery:
        """A gallery of `persons` x 3 photos, and the name of the test's database."""
        with database.transaction(10, read_only=True) as cursor:
            cursor.execute("SELECT current_database()")
            ((name,),) = cursor.fetchall()
        gallery = cls(storage, database, server.url.replace("@/postgres?", f"@/{name}?"))
        gallery.folder.mkdir(parents=True)
        demo_faces.write_gallery(gallery.folder, persons)
        return gallery

    @property
    def folder(self) -> Path:
        return self.storage / "galleries" / DOMAIN

    def start(self, *arguments: str, log: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        """The script in a process group of its own."""
        inherited = {k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields}
        settings = {
            "STORAGE_DIR": str(self.storage),
            "DATABASE_URL": self.database_url,
            "FACE_MODEL": "Dlib",
            "FACE_DETECTOR": "dlib",
            "FACE_WEIGHTS_DOWNLOAD": "false",
            "FACE_IMAGE_MAX_SIDE": "200",  # half the time of the detection
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "scripts.generate_embeddings_to_db", "--domain", DOMAIN, *arguments],
            env=inherited | settings | self.extra,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> Run:
        """The script, to its end."""
        process = self.start(*arguments)
        output, log = process.communicate(timeout=180)
        return Run(process.returncode, output, log)

    def faces(self) -> list[tuple[Any, ...]]:
        """Everything that is stored of the faces: image, person, hash, box, vector."""
        return self.query(_FACES)

    def images(self) -> list[str]:
        """The images that have faces, one for each face."""
        return [row[0] for row in self.faces()]

    def outcomes(self) -> dict[str, str]:
        """What is recorded of each image."""
        return dict(self.query("SELECT path, outcome FROM processed_images"))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self.database.transaction(10, read_only=True) as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
