"""A service that could not answer as configured stops at once, with one sentence that says what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from config import Settings
from tests.e2e.conftest import DUAL, PGVECTOR, PKL, launch


def refusal(folder: Path, tmp_path: Path, **settings: str) -> str:
    """The reason that the service gives when it refuses to start."""
    inherited = {k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields}
    choices = {"FACE_MODEL": "Dlib", "FACE_DETECTOR": "dlib", "FACE_WEIGHTS_DOWNLOAD": "false", "LOG_FORMAT": "json"}
    log_path = tmp_path / "refused.log"
    with log_path.open("wb") as log:
        process = launch(inherited | choices | {"STORAGE_DIR": str(folder), "PORT": "5999"} | settings, log)
        assert process.wait(60) != 0
    lines = [json.loads(line) for line in log_path.read_text().splitlines() if line.startswith("{")]
    reasons = [line["reason"] for line in lines if line["event"] == "start refused"]
    assert len(reasons) == 1, log_path.read_text()
    assert "Traceback" not in log_path.read_text()
    return str(reasons[0])


def test_missing_weights_are_named_with_their_source_and_their_place(storage_copy: Path, tmp_path: Path) -> None:
    reason = refusal(storage_copy, tmp_path, **PKL, FACE_MODEL="ArcFace", FACE_DETECTOR="dlib")
    assert "arcface_weights.onnx" in reason
    assert "https://" in reason
    assert str(storage_copy / "models" / ".deepface" / "weights") in reason


def test_a_pkl_of_another_detector_is_refused_and_says_what_differs(storage_copy: Path, tmp_path: Path) -> None:
    pkl = next(storage_copy.rglob("*.pkl"))
    pkl.rename(pkl.with_name(pkl.name.replace("detector_dlib", "detector_mtcnn")))
    reason = refusal(storage_copy, tmp_path, **PKL)
    assert "mtcnn" in reason
    assert "dlib" in reason


def test_a_database_of_another_spec_is_refused_and_says_what_differs(
    storage_copy: Path, tmp_path: Path, database_url: str
) -> None:
    reason = refusal(storage_copy, tmp_path, **PGVECTOR, DATABASE_URL=database_url, FACE_EXPAND_PERCENTAGE="10")
    assert "expand_percentage" in reason


def test_a_hostile_pkl_stops_the_start_and_runs_nothing(storage_copy: Path, tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    next(storage_copy.rglob("*.pkl")).write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    reason = refusal(storage_copy, tmp_path, **PKL)
    assert "os.system" in reason or "posix.system" in reason
    assert not marker.exists()


@pytest.mark.parametrize("mode", [DUAL, PGVECTOR], ids=["dual", "pgvector"])
def test_a_model_too_wide_for_pgvector_is_refused_with_that_reason(
    storage_copy: Path, tmp_path: Path, mode: dict[str, str]
) -> None:
    reason = refusal(storage_copy, tmp_path, **mode, FACE_MODEL="VGG-Face")
    assert "4096" in reason or "4,096" in reason
    assert "2,000" in reason or "2000" in reason


@pytest.mark.parametrize("key", ["", "planted-secret"])
def test_faces_that_could_not_be_sealed_are_refused_before_any_is_kept(
    storage_copy: Path, tmp_path: Path, database_url: str, key: str
) -> None:
    kept = {"PARITY_KEEP_FACES": "true", "PARITY_KEY": key, "DATABASE_URL": database_url}
    reason = refusal(storage_copy, tmp_path, **DUAL, **kept)
    assert "PARITY_KEY" in reason
    assert "planted-secret" not in reason
