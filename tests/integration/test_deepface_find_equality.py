"""The PKL gallery answers as the installed `DeepFace.find` does, on real faces: same rows, order and numbers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.reader import read_pkl
from app.adapters.pkl.snapshots import PklSnapshots
from app.adapters.pkl.writer import write_npz, write_pkl
from app.domain import EmbeddingSpec, GalleryFace, Match
from app.services.matching import MatchPolicy
from app.services.recognition_service import RecognitionService

pytestmark = pytest.mark.slow

SPEC = EmbeddingSpec(
    model="Dlib",
    weights_sha256="0" * 64,
    detector="dlib",
    align=True,
    normalization="base",
    expand_percentage=0,
    image_max_side=0,
    dimensions=128,
)
DOMAIN = "demo"
PERSONS = 16
STRANGERS = 4
YARDSTICK = Path(__file__).with_name("deepface_find_yardstick.py")


def _photo(patch: NDArray[Any]) -> NDArray[np.uint8]:
    """A 25x25 grey face, enlarged and with a border, so that dlib's detector finds it."""
    grey = cv2.resize((patch * 255).astype(np.uint8), None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    bordered = cv2.copyMakeBorder(grey, 45, 45, 45, 45, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(bordered, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _package_folder(package: str) -> Path:
    """Where a package lies, without importing it."""
    found = find_spec(package)
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def _save(path: Path, photo: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), photo)


def _write_photos(gallery: Path, probes: Path) -> None:
    patches = np.load(_package_folder("skimage") / "data" / "lfw_subset.npy")
    photos = [_photo(patch) for patch in patches[: PERSONS + STRANGERS]]
    for number, photo in enumerate(photos[:PERSONS]):
        folder = gallery / f"Person {number:02}"
        _save(folder / "1.png", photo)
        _save(folder / "2.png", cv2.convertScaleAbs(photo, alpha=0.8, beta=20))
        _save(folder / "3.png", cv2.GaussianBlur(photo, (5, 5), 0))
        if number % 4 == 0:  # the same picture under another name: equal distances
            shutil.copyfile(folder / "1.png", gallery / f"Person_{number:02}_copy_7.png")
    for number, photo in enumerate(photos[::3]):
        _save(probes / f"{number:02}.png", cv2.convertScaleAbs(photo, alpha=1.1, beta=-10))
    _save(probes / "several.png", np.hstack([photos[1], photos[5], photos[-1]]))


def _ask_deepface(folder: Path) -> dict[str, Any]:
    """What DeepFace answers, on the engine that needs no TensorFlow and with weights that need no network."""
    weights = folder / "home" / ".deepface" / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for file in (_package_folder("face_recognition_models") / "models").glob("*.dat"):
        (weights / file.name).unlink(missing_ok=True)
        (weights / file.name).symlink_to(file)
    environment = os.environ | {"DEEPFACE_HOME": str(folder / "home"), "DEEPFACE_BACKEND_ENGINE": "onnx"}
    arguments = [str(folder / DOMAIN), str(folder / "probes"), str(folder / "answers.json")]
    ended = subprocess.run(  # noqa: PLW1510 -- its messages are worth more than its status
        [sys.executable, str(YARDSTICK), *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    answers: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return answers


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a gallery of real faces, embedded by DeepFace itself, and its answers to the probes."""
    folder = tmp_path_factory.mktemp("yardstick")
    _write_photos(folder / DOMAIN, folder / "probes")
    _ask_deepface(folder)
    return folder


@pytest.fixture(scope="module")
def answers(place: Path) -> dict[str, Any]:
    answered: dict[str, Any] = json.loads((place / "answers.json").read_text())
    return answered


def _npz(place: Path) -> Path:
    return place / DOMAIN / pkl_names(SPEC)[1]


def _confidence_of(distance: float, verified: bool) -> float:
    from deepface.modules.verification import find_confidence  # pure arithmetic, loads no model

    return float(find_confidence(distance=distance, model_name="Dlib", distance_metric="cosine", verified=verified))


def _gallery(place: Path, threshold: float) -> RecognitionService:
    snapshots = PklSnapshots(place, place / "cache", SPEC, {})
    return RecognitionService(snapshots.current, snapshots.domains, MatchPolicy(threshold, _confidence_of))


def _questions(answers: dict[str, Any]) -> Iterator[tuple[NDArray[np.float64], float, list[dict[str, Any]]]]:
    for face in answers["faces"]:
        for found in face["rows"]:
            yield np.array(face["embedding"]), found["threshold"], found["rows"]


def _ties_by_identity(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """DeepFace's rows in its own order of distances; rows at equal distance, which it leaves in any order, by name."""
    groups = groupby(rows, key=lambda row: row["distance"])
    return [row for _, group in groups for row in sorted(group, key=lambda row: row["identity"])]


def _as_deepface(match: Match, place: Path, threshold: float) -> dict[str, Any]:
    identity = str(place / DOMAIN / match.image)
    distance, confidence = match.distance, match.confidence
    return {"identity": identity, "distance": distance, "threshold": threshold, "confidence": confidence}


def _assert_equal_answers(place: Path, answers: dict[str, Any]) -> int:
    rows_compared = 0
    for probe, threshold, expected in _questions(answers):
        ours = _gallery(place, threshold).rows_within_threshold(DOMAIN, probe)
        assert [_as_deepface(match, place, threshold) for match in ours] == _ties_by_identity(expected)
        rows_compared += len(ours)
    return rows_compared


def test_every_row_is_the_one_deepface_finds(place: Path, answers: dict[str, Any]) -> None:
    rows_compared = _assert_equal_answers(place, answers)

    found = [len(rows) for _, threshold, rows in _questions(answers) if threshold == answers["default_threshold"]]
    assert rows_compared > 200
    assert min(found) == 0, "a stranger is among the probes"
    assert max(found) >= 3, "and so is someone with several photos"


def test_ties_are_among_the_answers(answers: dict[str, Any]) -> None:
    distances = [[row["distance"] for row in rows] for _, _, rows in _questions(answers)]

    assert any(len(set(of_one_probe)) < len(of_one_probe) for of_one_probe in distances)


def test_the_best_person_is_the_one_in_the_photo(place: Path, answers: dict[str, Any]) -> None:
    recognised = _gallery(place, answers["default_threshold"])
    of_probe = {face["probe"]: np.array(face["embedding"]) for face in answers["faces"]}

    [matches] = recognised.search(DOMAIN, of_probe["01.png"][np.newaxis])

    assert [match.person for match in matches] == ["Person 03"]


def test_the_same_records_as_a_pkl_give_the_same_answers(place: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    matrix = PklSnapshots(place, place / "cache", SPEC, {}).current(DOMAIN)
    moved = tmp_path / DOMAIN
    moved.mkdir()
    write_pkl(moved / pkl_names(SPEC)[0], [matrix.face(row) for row in range(len(matrix))], place / DOMAIN)
    recognised = _gallery(tmp_path, answers["default_threshold"])
    original = _gallery(place, answers["default_threshold"])

    for face in answers["faces"]:
        probe = np.array(face["embedding"])
        assert recognised.rows_within_threshold(DOMAIN, probe) == original.rows_within_threshold(DOMAIN, probe)


def test_deepface_goes_on_from_the_file_we_write_without_embedding_anything_again(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "handed over"
    shutil.copytree(place / "probes", folder / "probes", ignore=lambda *_: [f"{n:02}.png" for n in range(3, 99)])
    shutil.copytree(place / DOMAIN, folder / DOMAIN)
    contents = read_pkl(_npz(place), SPEC)
    images = [str(Path(identity).relative_to(place / DOMAIN)) for identity in contents.identities]
    _remove_photos_without_a_face(folder / DOMAIN, images)
    matrix = PklSnapshots(place, place / "cache", SPEC, {}).current(DOMAIN)
    faces: list[GalleryFace] = [matrix.face(row) for row in range(len(matrix))]
    write_npz(_npz(folder), faces, folder / DOMAIN)
    ours = _npz(folder).read_bytes()

    answers = _ask_deepface(folder)

    assert _npz(folder).read_bytes() == ours
    assert _assert_equal_answers(folder, answers) > 0


def _remove_photos_without_a_face(gallery: Path, images: list[str]) -> None:
    for photo in gallery.rglob("*.png"):
        if str(photo.relative_to(gallery)) not in images:
            photo.unlink()


def test_what_deepface_computes_needs_float32_only(place: Path) -> None:
    contents = read_pkl(_npz(place), SPEC)

    assert contents.embeddings.dtype == np.float32
    assert len(contents.identities) > 3 * PERSONS * 0.8
