"""`scripts.calibrate_threshold` as an operator runs it, on real faces with Dlib's real models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import calibrate_threshold, demo_faces

PERSONS = 6


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder per person with three photos each, and the settings of a Dlib engine."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("FACE_", "VECTOR_DB_", "DATABASE_"))]:
        monkeypatch.delenv(name)
    variables = {"FACE_MODEL": "Dlib", "FACE_DETECTOR": "dlib", "FACE_WEIGHTS_DOWNLOAD": "false", "COLUMNS": "150"}
    for name, value in (variables | {"STORAGE_DIR": str(tmp_path / "storage")}).items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "labelled"
    demo_faces.write_gallery(folder, PERSONS)
    return folder


def run(photos: Path, *arguments: str) -> int:
    return calibrate_threshold.main(["--photos", str(photos), "--workers", "1", *arguments])


def test_a_threshold_is_proposed_between_the_persons_with_settings_plot_and_report(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot, report = tmp_path / "tradeoff.svg", tmp_path / "report.json"
    shutil.copy(photos / "Person 001" / "1.png", photos / "Person 001" / "again.png")
    (photos / "Person 002" / "torn.png").write_bytes(b"no photo")
    code = run(photos, "--target-fpir", "0.2", "--plot", str(plot), "--report", str(report))
    assert code == calibrate_threshold.SUPPORTED
    document = json.loads(report.read_text())
    assert (document["photos"], document["persons"]) == (3 * PERSONS, PERSONS)
    assert document["left_out"] == {"copy": 1, "unreadable": 1}
    proposed = document["proposed"]
    assert 0.03 < proposed["threshold"] < 0.085, "Dlib's demo persons are told apart between these"
    assert (proposed["fnir"]["errors"], proposed["fpir"]["errors"]) == (0, 0)
    printed = capsys.readouterr().out
    assert f"FACE_DISTANCE_THRESHOLD={proposed['threshold']:.6g}" in printed
    assert f"VECTOR_DB_SIMILARITY_THRESHOLD={1 - proposed['threshold']:.6g}" in printed
    assert "DeepFace's" in printed
    assert plot.read_text().startswith("<?xml")


def test_too_few_photos_for_the_wanted_rate_are_said_to_be_so(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photos) == calibrate_threshold.TOO_FEW_PHOTOS
    assert "TOO FEW PHOTOS" in capsys.readouterr().out


def test_photos_without_a_folder_per_person_are_refused_with_a_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(photos / "Person 001" / "1.png", flat)
    assert run(flat) == calibrate_threshold.ERROR
    assert "one folder per person" in capsys.readouterr().out


def test_one_person_only_is_refused_with_a_sentence(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2, PERSONS + 1):
        shutil.rmtree(photos / f"Person {number:03d}")
    assert run(photos) == calibrate_threshold.ERROR
    assert "one person only" in capsys.readouterr().out


def test_photos_without_a_face_are_refused_with_a_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2
    import numpy as np

    for name in ("Ana", "Eva"):
        (tmp_path / "empty" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "empty" / name / "wall.png"), np.full((240, 240, 3), 127, dtype=np.uint8))
    assert run(tmp_path / "empty") == calibrate_threshold.ERROR
    assert "None of the 2 photos" in capsys.readouterr().out


def test_a_plot_of_an_unknown_kind_or_a_rate_out_of_range_is_refused_before_anything_is_embedded(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photos, "--plot", "tradeoff.docx") == calibrate_threshold.ERROR
    assert ".png" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(photos, "--target-fpir", "1.5")
