"""DeepFace models on onnxruntime with small weights of our own: what a start and a photo make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.adapters.deepface_engine import DeepFaceEngine, EngineOptions
from app.adapters.face_models import model_facts
from app.adapters.model_weights import WeightsRequest, ensure_weights
from app.errors import StartupError
from tests.faces import known_face, several_faces


def averaging_model(path: Path, weights: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """A recogniser of a few kilobytes: mean colour of the face, times `weights` (3, D)."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["face", "sides"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["embedding"]),
        ],
        "averaging",
        [helper.make_tensor_value_info("face", TensorProto.FLOAT, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", weights.shape[1]])],
        [numpy_helper.from_array(np.array([1, 2]), "sides"), numpy_helper.from_array(weights, "weights")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def engine_of(model: str, home: Path, weights: np.ndarray[Any, np.dtype[np.float32]] | bytes) -> DeepFaceEngine:
    """An engine of DeepFace's `model` with weights of our own; each model once, as DeepFace keeps what it loaded."""
    path = home / ".deepface" / "weights" / model_facts(model).onnx.weights[0]
    if isinstance(weights, bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(weights)
    else:
        averaging_model(path, weights)
    ensure_weights(WeightsRequest(home, model, "dlib", "onnx", download=False))
    return DeepFaceEngine(EngineOptions(model, "dlib", "onnx", home, "0" * 64))


def test_an_onnx_model_runs_through_the_same_engine(tmp_path: Path) -> None:
    engine = engine_of("GhostFaceNet", tmp_path, np.eye(3, 512, dtype=np.float32))
    engine.warm()

    assert [face.embedding.shape for face in engine.embed_faces(several_faces())] == [(512,)] * 4


@pytest.mark.parametrize(("model", "broken"), [("ArcFace", np.nan), ("Facenet512", 0.0)])
def test_embeddings_that_cannot_be_compared_are_left_out(tmp_path: Path, model: str, broken: float) -> None:
    engine = engine_of(model, tmp_path, np.full((3, 512), broken, dtype=np.float32))

    assert engine.embed_faces(known_face()) == []


def test_weights_of_another_model_stop_the_start(tmp_path: Path) -> None:
    engine = engine_of("OpenFace", tmp_path, np.eye(3, 99, dtype=np.float32))

    with pytest.raises(StartupError, match="99 numbers instead of 128"):
        engine.warm()


def test_a_weights_file_that_is_none_stops_the_start(tmp_path: Path) -> None:
    engine = engine_of("Facenet", tmp_path, b"<html>404 not found</html>")

    with pytest.raises(StartupError, match="DeepFace cannot load Facenet with the detector dlib on onnx"):
        engine.warm()
