"""A host as an operator has it before the cutover: a gallery folder, a database, and settings that name both."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.writer import write_pkl
from app.adapters.postgres import Database
from app.bootstrap_scripts import GalleryContainer
from app.domain import GalleryFace
from config import Settings

Main = Callable[[list[str]], int]


@dataclass(frozen=True)
class GalleryHost:
    """Runs scripts as an operator does, with the settings in the environment.

    :param folder: STORAGE_DIR.
    """

    folder: Path
    database: Database
    capture: pytest.CaptureFixture[str]

    def run(self, main: Main, *arguments: str) -> tuple[int, str]:
        """The exit code of a script, and all that it printed."""
        self.capture.readouterr()
        code = main(list(arguments))
        printed = self.capture.readouterr()
        return code, printed.out + printed.err

    def run_json(self, main: Main, *arguments: str) -> tuple[int, Any]:
        """The exit code, and what it printed with `--json`."""
        self.capture.readouterr()
        code = main([*arguments, "--json"])
        return code, json.loads(self.capture.readouterr().out)

    def container(self) -> GalleryContainer:
        """The same parts as the scripts have; the caller closes it."""
        return GalleryContainer(Settings.load())

    def write_pkl(self, domain: str, faces: Iterable[GalleryFace], root: str = "/mnt/old") -> Path:
        """A PKL in the domain's folder, as another host once wrote it."""
        path = self.folder / "galleries" / domain / pkl_names(self.container().engine.spec)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pkl(path, faces, Path(root) / domain)
        return path


def set_environment(
    folder: Path, database: Database, postgres: EmbeddedPostgres, environment: pytest.MonkeyPatch
) -> None:
    """The settings of a host on which no weights lie: only their digest is known."""
    settings = {
        "STORAGE_DIR": str(folder),
        "DATABASE_URL": url_of(database, postgres),
        "VECTOR_DB_ENABLED": "true",
        "VECTOR_DB_EXACT_MAX_ROWS": "100",
        "COLUMNS": "200",  # a terminal wide enough for every table
        "FACE_MODEL": "Dlib",
        "FACE_DETECTOR": "dlib",
        "FACE_WEIGHTS_SHA256": "ab" * 32,
        "FACE_WEIGHTS_DOWNLOAD": "false",
    }
    environment.chdir(folder)  # away from a developer's .env
    for name in [name for name in os.environ if name.startswith(("FACE_", "VECTOR_DB_", "GALLERY_", "PKL_"))]:
        environment.delenv(name)
    for name, value in settings.items():
        environment.setenv(name, value)


def url_of(database: Database, postgres: EmbeddedPostgres) -> str:
    """Where a test's database is."""
    with database.transaction(10, read_only=True) as cursor:
        cursor.execute("SELECT current_database()")
        ((name,),) = cursor.fetchall()
    return postgres.url.replace("@/postgres?", f"@/{name}?")
