"""Galleries in use were embedded with TensorFlow: the ONNX engine must give the same numbers for the same weights."""

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

ROOT = Path(__file__).parents[2]
ENGINES = ("onnx", "tensorflow")

EMBED = """
import json, sys
from pathlib import Path
from app.adapters.deepface_engine import DeepFaceEngine, EngineOptions
from app.adapters.model_weights import WeightsRequest, ensure_weights
from tests.faces import known_face, several_faces, stranger
home, engine = Path(sys.argv[1]), sys.argv[2]
report = ensure_weights(WeightsRequest(home, "ArcFace", "dlib", engine, download=False))
arcface = DeepFaceEngine(EngineOptions("ArcFace", "dlib", engine, home, report.recognizer_sha256))
arcface.warm()
photos = [known_face(0), known_face(1), stranger(), several_faces()]
print(json.dumps({
    "embeddings": [face.embedding.tolist() for photo in photos for face in arcface.embed_faces(photo)],
    "runtimes": sorted({"onnxruntime", "tensorflow"} & set(sys.modules)),
}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="the lean installation has no TensorFlow"),
    pytest.mark.skipif(find_spec("tf2onnx") is None, reason="tf2onnx is not installed (requirements-dev.txt)"),
]


def in_a_process_of_its_own(*arguments: str) -> str:
    # Importing DeepFace's front module, as another test does, switches its process and all children to Keras 2.
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().rpartition("\n")[2]  # the last line; the log is before it


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each engine makes of the same faces with the same random weights; each loads its own runtime only."""
    home = tmp_path_factory.mktemp("models")
    in_a_process_of_its_own("-m", "tests.arcface_weights", str(home))
    return {engine: json.loads(in_a_process_of_its_own("-c", EMBED, str(home), engine)) for engine in ENGINES}


def test_both_engines_give_the_same_embeddings(answers: dict[str, dict[str, Any]]) -> None:
    by_onnx, by_tensorflow = (np.array(answers[engine]["embeddings"]) for engine in ENGINES)

    assert by_onnx.shape == by_tensorflow.shape == (7, 512)
    products = np.sum(by_onnx * by_tensorflow, axis=1)
    similarity = products / (np.linalg.norm(by_onnx, axis=1) * np.linalg.norm(by_tensorflow, axis=1))
    assert similarity.min() >= 0.9999
    assert np.abs(by_onnx - by_tensorflow).max() < 1e-3 * by_onnx.std()


def test_the_random_weights_tell_faces_apart(answers: dict[str, dict[str, Any]]) -> None:
    """Otherwise the test above would pass with weights under which all faces look alike."""
    embeddings = np.array(answers["onnx"]["embeddings"])
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    different = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    assert different.max() < 0.99
    assert 0.01 < embeddings.std() < 1000


@pytest.mark.parametrize(("engine", "runtime"), [("onnx", "onnxruntime"), ("tensorflow", "tensorflow")])
def test_an_engine_loads_its_own_runtime_only(answers: dict[str, dict[str, Any]], engine: str, runtime: str) -> None:
    assert answers[engine]["runtimes"] == [runtime]
