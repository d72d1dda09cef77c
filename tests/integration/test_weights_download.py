"""Downloading with DeepFace's own function, from a server on this machine."""

from __future__ import annotations

import bz2
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.adapters import model_weights
from app.adapters.deepface_weights import download_weights
from app.adapters.model_weights import WeightsRequest, ensure_weights
from app.errors import StartupError

WEIGHTS = bytes(range(256)) * 400


class WeightsServer(BaseHTTPRequestHandler):
    """Serves weights whole, packed, cut off in the middle, or not at all."""

    def do_HEAD(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        self.end_headers()

    def do_GET(self) -> None:
        body = bz2.compress(WEIGHTS) if self.path.endswith(".bz2") else WEIGHTS
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if "cut" in self.path else body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the tests look at standard error."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("DEEPFACE_HOME", "")  # put back afterwards
    with ThreadingHTTPServer(("127.0.0.1", 0), WeightsServer) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


def test_a_file_arrives_whole_and_nothing_is_printed(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = download_weights("model.onnx", (f"{server}/model.onnx",), tmp_path, "onnx")

    assert path.read_bytes() == WEIGHTS
    assert capfd.readouterr() == ("", "")


def test_a_packed_file_is_unpacked(server: str, tmp_path: Path) -> None:
    assert download_weights("model.dat", (f"{server}/model.dat.bz2",), tmp_path, "onnx").read_bytes() == WEIGHTS


def test_the_second_source_is_taken_where_the_first_has_nothing(server: str, tmp_path: Path) -> None:
    sources = (f"{server}/missing/model.onnx", f"{server}/model.onnx")

    assert download_weights("model.onnx", sources, tmp_path, "onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize("address", ["{server}/missing/model.onnx", "http://127.0.0.1:9/model.onnx"])
def test_a_source_that_cannot_be_reached_is_named(server: str, tmp_path: Path, address: str) -> None:
    with pytest.raises(StartupError, match=r"model\.onnx could not be downloaded from http://127"):
        download_weights("model.onnx", (address.format(server=server),), tmp_path, "onnx")


@pytest.mark.parametrize("path", ["cut/arcface_weights.onnx", "missing/arcface_weights.onnx"])
def test_a_download_that_fails_leaves_no_file_that_a_start_could_take_for_weights(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(model_weights, "weights_sources", lambda *_: (f"{server}/{path}",))

    with pytest.raises(StartupError, match=r"arcface_weights\.onnx is missing and could not be downloaded"):
        ensure_weights(WeightsRequest(tmp_path, "ArcFace", "opencv", "onnx"))
    assert [each for each in tmp_path.rglob("*") if each.is_file() and each.suffix != ".lock"] == []


def test_a_downloaded_file_is_checked_like_any_other(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_weights, "weights_sources", lambda *_: (f"{server}/arcface_weights.onnx",))

    assert ensure_weights(WeightsRequest(tmp_path, "ArcFace", "opencv", "onnx")).recognizer.read_bytes() == WEIGHTS
    with pytest.raises(StartupError, match="SHA-256"):
        ensure_weights(WeightsRequest(tmp_path, "ArcFace", "opencv", "onnx", sha256="0" * 64))
