"""Weights: taken from the package that carries them, held against checksums, refused with one sentence."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from deepface.models.facial_recognition.onnx.ArcFace import WEIGHTS_URL

from app.adapters.deepface_weights import weights_sources
from app.adapters.face_models import DETECTORS, MODELS, Engine
from app.adapters.model_weights import WeightsReport, WeightsRequest, ensure_weights
from app.errors import StartupError

ENGINES: tuple[Engine, ...] = ("onnx", "tensorflow")


@pytest.fixture
def dlib(tmp_path: Path) -> WeightsRequest:
    """The pair whose weights come with an installed package."""
    return WeightsRequest(tmp_path, "Dlib", "dlib", "onnx", download=False)


@pytest.fixture
def arcface(tmp_path: Path) -> WeightsRequest:
    """A model whose weights file an operator put there by hand."""
    weights = tmp_path / ".deepface" / "weights" / "arcface_weights.onnx"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"first weights")
    return WeightsRequest(tmp_path, "ArcFace", "opencv", "onnx", download=False)


def weights_of(request: WeightsRequest) -> Path:
    return request.home / ".deepface" / "weights" / "arcface_weights.onnx"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def refused(request: WeightsRequest) -> str:
    with pytest.raises(StartupError) as caught:
        ensure_weights(request)
    return caught.value.message


def test_dlibs_weights_come_from_the_installed_package_into_deepfaces_folder(dlib: WeightsRequest) -> None:
    report = ensure_weights(dlib)

    folder = dlib.home / ".deepface" / "weights"
    assert report.recognizer == folder / "dlib_face_recognition_resnet_model_v1.dat"
    assert report.detector == (folder / "shape_predictor_5_face_landmarks.dat",)
    assert report.recognizer_sha256 == sha256(report.recognizer.read_bytes())


def test_a_second_start_finds_the_same(dlib: WeightsRequest) -> None:
    assert ensure_weights(dlib) == ensure_weights(dlib)


def test_workers_that_start_together_all_find_whole_files(dlib: WeightsRequest) -> None:
    with ThreadPoolExecutor(8) as pool:
        reports: list[WeightsReport] = list(pool.map(ensure_weights, [dlib] * 8))

    assert len(set(reports)) == 1
    left_behind = list(reports[0].recognizer.parent.glob(".incoming-*"))
    assert left_behind == []


def test_dlib_weights_that_are_not_dlibs_are_refused_naming_both_checksums(dlib: WeightsRequest) -> None:
    genuine = ensure_weights(dlib)
    genuine.recognizer.unlink()
    genuine.recognizer.write_bytes(b"forged")

    message = refused(dlib)
    assert sha256(b"forged") in message
    assert genuine.recognizer_sha256 in message


def test_a_file_put_there_by_hand_is_trusted_at_first_use(arcface: WeightsRequest) -> None:
    assert ensure_weights(arcface).recognizer_sha256 == sha256(b"first weights")


def test_a_file_that_changed_since_is_refused_until_an_operator_accepts_it(arcface: WeightsRequest) -> None:
    ensure_weights(arcface)
    weights_of(arcface).write_bytes(b"other weights!")

    message = refused(arcface)
    assert sha256(b"first weights") in message
    assert sha256(b"other weights!") in message
    assert "arcface_weights.onnx.sha256" in message
    weights_of(arcface).with_name("arcface_weights.onnx.sha256").unlink()
    assert ensure_weights(arcface).recognizer_sha256 == sha256(b"other weights!")


def test_a_setting_decides_over_what_was_trusted(arcface: WeightsRequest) -> None:
    ensure_weights(arcface)
    weights_of(arcface).write_bytes(b"other weights!")

    accepted = replace(arcface, sha256=sha256(b"other weights!"))
    assert ensure_weights(accepted).recognizer_sha256 == sha256(b"other weights!")
    assert sha256(b"first weights") in refused(replace(arcface, sha256=sha256(b"first weights")))


def test_the_checksum_lies_beside_the_file_as_sha256sum_writes_it(arcface: WeightsRequest) -> None:
    ensure_weights(arcface)

    sidecar = weights_of(arcface).with_name("arcface_weights.onnx.sha256").read_text()
    comment, checksum = sidecar.splitlines()
    assert comment.startswith("#")
    assert checksum == f"{sha256(b'first weights')}  arcface_weights.onnx"


def test_a_file_of_unchanged_size_and_time_is_not_read_again(arcface: WeightsRequest) -> None:
    ensure_weights(arcface)
    before = weights_of(arcface).stat()
    weights_of(arcface).write_bytes(b"FIRST WEIGHTS")
    os.utime(weights_of(arcface), ns=(before.st_atime_ns, before.st_mtime_ns))

    assert ensure_weights(arcface).recognizer_sha256 == sha256(b"first weights")


def test_a_touched_file_is_read_again_and_found_to_be_the_same(arcface: WeightsRequest) -> None:
    ensure_weights(arcface)
    os.utime(weights_of(arcface), ns=(1, 1))

    assert ensure_weights(arcface) == ensure_weights(arcface)


@pytest.mark.parametrize("garbage", [b"", b"no checksum\n", b"\xff\xfe\x00"])
def test_a_damaged_record_counts_as_none(arcface: WeightsRequest, garbage: bytes) -> None:
    weights_of(arcface).with_name("arcface_weights.onnx.sha256").write_bytes(garbage)

    assert ensure_weights(arcface).recognizer_sha256 == sha256(b"first weights")


def test_a_folder_that_cannot_be_written_does_not_stop_a_start(arcface: WeightsRequest) -> None:
    weights_of(arcface).with_name("arcface_weights.onnx.sha256").mkdir()  # in the way of the record, even for root

    assert ensure_weights(arcface).recognizer_sha256 == sha256(b"first weights")


def test_a_missing_file_stops_the_start_with_its_name_source_and_place(tmp_path: Path) -> None:
    message = refused(WeightsRequest(tmp_path, "ArcFace", "opencv", "onnx", download=False))

    assert message.startswith("The weights file arcface_weights.onnx is missing")
    assert WEIGHTS_URL[0] in message
    assert str(tmp_path / ".deepface" / "weights" / "arcface_weights.onnx") in message
    assert list((tmp_path / ".deepface" / "weights").glob("[!.]*")) == []


def test_a_home_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")

    assert str(tmp_path / "home") in refused(WeightsRequest(tmp_path / "home", "Dlib", "dlib", "onnx"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_deepfaces_own_address_of_every_models_weights_is_known(name: str, engine: Engine) -> None:
    (file,) = MODELS[name].needs(engine).weights

    addresses = weights_sources("facial_recognition", name, engine, file)
    assert addresses
    assert all(address.startswith("https://") for address in addresses)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [name for name, facts in DETECTORS.items() if facts.onnx.weights])
def test_deepfaces_own_address_of_every_detectors_weights_is_known(name: str, engine: Engine) -> None:
    for file in DETECTORS[name].needs(engine).weights:
        assert weights_sources("face_detector", name, engine, file)
