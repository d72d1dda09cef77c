"""What tests with a database have in common."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_folder() -> Iterator[Callable[[], Path]]:
    """Makes folders that the server's account may reach; pytest's own are closed to it by every new session."""
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="facerec-test-")))
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder)
