"""Lines of a JSONL file of profiles, and what became of them in the embedded stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.services.profiles.records import IdentityProbe
from tests.integration.gallery_host import GalleryHost

DIMENSIONS = 128  # of Dlib


def unit(seed: int) -> list[float]:
    """A vector of length 1, the same for the same seed."""
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS)
    return [float(x) for x in vector / np.linalg.norm(vector)]


def profile(entity_id: str, seed: int, **changes: Any) -> dict[str, Any]:
    """A line of a JSONL file, with a vector in the place of a photo."""
    metadata = {"twitterData": {"name": f"Name {seed}", "id": seed, "profileUrl": f"https://t.example/{seed}"}}
    return {"entity_id": entity_id, "metadata": metadata, "vectors": [unit(seed)]} | changes


def write_lines(path: Path, lines: list[dict[str, Any] | str]) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def probe(cluster_id: int, vector: list[float] | NDArray[np.float64]) -> IdentityProbe:
    return IdentityProbe(cluster_id, np.asarray(vector, dtype=np.float64))


def rows(host: GalleryHost, statement: str) -> list[tuple[Any, ...]]:
    with host.database.transaction(10, read_only=True) as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def held(host: GalleryHost) -> tuple[int, int]:
    """Faces and documents."""
    ((faces, documents),) = rows(
        host, "SELECT (SELECT count(*) FROM profile_faces), (SELECT count(*) FROM profile_documents)"
    )
    return faces, documents
