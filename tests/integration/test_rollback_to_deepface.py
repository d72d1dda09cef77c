"""The way back after the cutover: what Postgres holds becomes files from which DeepFace itself answers the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapters.pkl.naming import pkl_names
from app.domain import FaceMatches
from app.services.gallery import Gallery
from scripts import demo_faces, migrate_pkl_to_postgres_standalone, reconcile_galleries
from tests.integration.gallery_host import GalleryHost

pytestmark = pytest.mark.slow

DOMAIN = "demo"
PERSONS = 8
YARDSTICK = Path(__file__).with_name("deepface_find_yardstick.py")


@pytest.fixture
def host(host: GalleryHost, tmp_path: Path) -> GalleryHost:
    """With demo faces in its gallery, and probes beside it."""
    demo_faces.write_gallery(tmp_path / "galleries" / DOMAIN, PERSONS)
    (tmp_path / "probes").mkdir()
    for number in range(3):
        (tmp_path / "probes" / f"{number}.jpg").write_bytes(demo_faces.known_probe(number)[0])
    (tmp_path / "probes" / "stranger.jpg").write_bytes(demo_faces.unknown_probe())
    return host


def ask_deepface(folder: Path) -> dict[str, Any]:
    """What `DeepFace.find` answers; it makes its gallery file where there is none."""
    weights = folder / "home" / ".deepface" / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    package = find_spec("face_recognition_models")
    assert package is not None and package.origin is not None
    for file in (Path(package.origin).parent / "models").glob("*.dat"):
        (weights / file.name).unlink(missing_ok=True)
        (weights / file.name).symlink_to(file)
    environment = os.environ | {"DEEPFACE_HOME": str(folder / "home"), "DEEPFACE_BACKEND_ENGINE": "onnx"}
    arguments = [str(folder / "galleries" / DOMAIN), str(folder / "probes"), str(folder / "answers.json")]
    subprocess.run(
        [sys.executable, str(YARDSTICK), *arguments], env=environment, check=True, capture_output=True, timeout=300
    )
    answers: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return answers


def persons(matches: FaceMatches) -> list[tuple[str, float]]:
    return [(match.person, match.distance) for match in matches]


def deepface_persons(rows: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """DeepFace's rows as our answer: each person by their best image, the best five."""
    best: dict[str, float] = {}
    for row in rows:
        best.setdefault(Path(row["identity"]).parent.name, row["distance"])
    return sorted(best.items(), key=lambda found: (found[1], found[0]))[:5]


def assert_answers_like_deepface(gallery: Gallery, answers: dict[str, Any]) -> int:
    found = 0
    for face in answers["faces"]:
        (matches,) = gallery.search(DOMAIN, np.array([face["embedding"]]))
        assert persons(matches) == deepface_persons(face["rows"][0]["rows"])
        found += len(matches)
    return found


def test_deepface_find_and_both_galleries_answer_alike_before_and_after_the_way_through_postgres(
    host: GalleryHost,
) -> None:
    before = ask_deepface(host.folder)
    npz = host.folder / "galleries" / DOMAIN / pkl_names(host.container().engine.spec)[1]
    assert host.run(migrate_pkl_to_postgres_standalone.main, "--domain", DOMAIN)[0] == 0
    npz.unlink()  # the state after the cutover

    code, _ = host.run(reconcile_galleries.main, "--domain", DOMAIN, "--apply", "db-to-pkl", "--npz")
    assert code == 0
    exported = npz.read_bytes()
    after = ask_deepface(host.folder)

    assert npz.read_bytes() == exported, "DeepFace took the file as its own and embedded nothing again"
    assert after == before
    container = host.container()
    try:
        assert assert_answers_like_deepface(container.recognition_service, after) == 3
        assert assert_answers_like_deepface(container.pgvector_recognition, after) == 3
    finally:
        container.close()
