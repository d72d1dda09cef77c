"""The tables of models and detectors say what the installed DeepFace says."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
from deepface.config.threshold import thresholds
from deepface.modules.modeling import AVAILABLE_MODELS

from app.adapters.face_models import (
    DETECTORS,
    MODELS,
    Engine,
    detector_facts,
    model_facts,
    require_indexable,
    require_packages,
)
from app.errors import StartupError

ENGINES: tuple[Engine, ...] = ("onnx", "tensorflow")
RETINAFACE_MODULES = {
    "onnx": "retinaface.model.retinaface_onnx_model",
    "tensorflow": "retinaface.model.retinaface_model",
}


def sources(task: str, name: str, engine: Engine) -> tuple[ast.Module, str]:
    """The source of DeepFace's class for a model; read, not imported, because importing some needs TensorFlow."""
    paths = AVAILABLE_MODELS[task][name]  # type: ignore[literal-required]
    module, _, class_name = (paths.get(engine) or paths["any"]).rpartition(".")
    if name == "retinaface":
        module = RETINAFACE_MODULES[engine]
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8")), class_name


def strings(tree: ast.AST) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def output_dimensions(tree: ast.Module, class_name: str) -> int:
    """The value assigned to `self.output_shape` in the class."""
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    for node in ast.walk(body):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "self.output_shape":
            return int(ast.literal_eval(node.value))
    raise AssertionError(f"{class_name} sets no output_shape")


def test_the_tables_hold_the_models_and_detectors_of_deepface() -> None:
    assert set(MODELS) == set(AVAILABLE_MODELS["facial_recognition"])
    assert set(DETECTORS) == set(AVAILABLE_MODELS["face_detector"])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_a_models_dimensions_and_weights_file_are_deepfaces(name: str, engine: Engine) -> None:
    tree, class_name = sources("facial_recognition", name, engine)
    (weights,) = MODELS[name].needs(engine).weights

    assert MODELS[name].dimensions == output_dimensions(tree, class_name)
    assert set(weights.split("/")) <= strings(tree)


@pytest.mark.parametrize("name", MODELS)
def test_a_models_threshold_is_deepfaces_for_cosine(name: str) -> None:
    assert MODELS[name].threshold == thresholds[name]["cosine"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", DETECTORS)
def test_a_detectors_weights_files_are_deepfaces(name: str, engine: Engine) -> None:
    tree, _ = sources("face_detector", name, engine)

    assert set(DETECTORS[name].needs(engine).weights) <= strings(tree)


def test_an_unknown_model_is_refused_with_all_names_and_the_nearest() -> None:
    with pytest.raises(StartupError, match=r"FACE_MODEL=arcface is unknown.*Dlib.*Did you mean ArcFace\?"):
        model_facts("arcface")


def test_an_unknown_detector_is_refused_with_all_names_and_the_nearest() -> None:
    with pytest.raises(StartupError, match=r"FACE_DETECTOR=RetinaFaces is unknown.*Did you mean retinaface\?"):
        detector_facts("RetinaFaces")


def test_nonsense_gets_the_list_and_no_suggestion() -> None:
    with pytest.raises(StartupError) as caught:
        model_facts("42")
    assert "Did you mean" not in caught.value.message
    assert all(name in caught.value.message for name in MODELS)


@pytest.mark.parametrize("name", ["VGG-Face", "DeepFace"])
def test_a_model_too_long_for_the_index_is_refused_with_the_limit(name: str) -> None:
    with pytest.raises(StartupError, match=r"4096 dimensions.*at most 2000.*ArcFace"):
        require_indexable(model_facts(name))


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"VGG-Face", "DeepFace"}))
def test_every_other_model_can_be_indexed(name: str) -> None:
    require_indexable(model_facts(name))


def test_a_detector_whose_package_is_missing_is_refused_with_what_to_install() -> None:
    with pytest.raises(StartupError, match="pip install facenet-pytorch"):
        require_packages(model_facts("Dlib"), detector_facts("fastmtcnn"), "onnx")


def test_the_pair_of_the_quick_start_needs_nothing_more() -> None:
    require_packages(model_facts("Dlib"), detector_facts("dlib"), "onnx")
