"""DeepFace as a library: the one module that imports it, when an engine is first used and not before.

A process that forks has then loaded neither a model nor a runtime.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.adapters.face_models import Engine
from app.errors import StartupError

Task = Literal["facial_recognition", "face_detector"]
Pixels = NDArray[Any]

# RetinaFace is a package of its own, and DeepFace's module for it does not say where the weights come from.
_RETINAFACE_MODULES: dict[Engine, str] = {
    "onnx": "retinaface.model.retinaface_onnx_model",
    "tensorflow": "retinaface.model.retinaface_model",
}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which models DeepFace builds, and where their weights are."""

    model: str
    detector: str
    engine: Engine
    home: Path


@dataclass(frozen=True, slots=True)
class DeepFace:
    """DeepFace's functions, with both models built.

    :param represent: deepface.modules.representation.represent.
    :param recognizer: deepface.models.FacialRecognition.
    :param detector: deepface.models.Detector.
    :param extract_face: deepface.modules.detection.extract_face: crops a face, aligned by the eyes.
    :param resize_image: deepface.modules.preprocessing.resize_image: a crop as (1, H, W, 3) float32 in 0 to 1.
    :param normalize_input: deepface.modules.preprocessing.normalize_input.
    :param no_face: what `represent` raises where it finds nobody.
    """

    represent: Callable[..., Any]
    recognizer: Any
    detector: Any
    extract_face: Callable[..., Any]
    resize_image: Callable[..., Pixels]
    normalize_input: Callable[..., Pixels]
    no_face: tuple[type[Exception], ...]

    def embed(self, faces: Pixels) -> NDArray[np.float64]:
        """Embeddings (N, D) float64 of N faces that are as large as the model takes them.

        :param faces: (N, H, W, 3) float32.
        """
        # DeepFace's models answer one face with a vector and several with a list of vectors.
        return np.asarray(self.recognizer.forward(faces), dtype=np.float64).reshape(len(faces), -1)


def load(choice: ModelChoice) -> DeepFace:
    """Import DeepFace and build both models; neither is thread-safe in it (its issues 571 and 995).

    :raises StartupError: a model cannot be loaded.
    """
    set_environment(choice.home, choice.engine)
    # RetinaFace's import switches the warnings of the whole process off.
    with warnings.catch_warnings():
        try:
            return _build(choice)
        except (ImportError, ValueError, OSError, RuntimeError, AttributeError) as exc:
            raise StartupError(
                f"DeepFace cannot load {choice.model} with the detector {choice.detector} on {choice.engine}: {exc}"
            ) from exc


def set_environment(home: Path, engine: Engine) -> None:
    """Tell DeepFace, RetinaFace and TensorFlow what they read from the environment, before their import."""
    _silence()
    os.environ["DEEPFACE_HOME"] = str(home.absolute())
    os.environ["DEEPFACE_BACKEND_ENGINE"] = engine
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # As `import deepface.DeepFace` has it; but TensorFlow fails when it is told to use a package that is not there.
    os.environ["TF_USE_LEGACY_KERAS"] = "1" if find_spec("tf_keras") else "0"


@cache
def find_confidence() -> Callable[..., float]:
    """deepface.modules.verification.find_confidence, a pure function that needs no lock."""
    _silence()
    from deepface.modules.verification import find_confidence

    function: Callable[..., float] = find_confidence
    return function


def model_source(task: Task, name: str, engine: Engine) -> ast.Module:
    """The syntax tree of the module that builds a model; it is not imported, as that may import TensorFlow."""
    _silence()
    from deepface.modules.modeling import ANY, AVAILABLE_MODELS

    paths = AVAILABLE_MODELS[task][name]
    module = (paths.get(engine) or paths[ANY]).rpartition(".")[0]
    spec = find_spec(_RETINAFACE_MODULES[engine] if name == "retinaface" else module)
    if spec is None or spec.origin is None:
        return ast.Module(body=[], type_ignores=[])
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def download(file_name: str, sources: tuple[str, ...], compression: str | None) -> None:
    """Have DeepFace download one weights file into its home, silently.

    :raises StartupError: no source could be reached.
    """
    noise = StringIO()
    with redirect_stdout(noise), redirect_stderr(noise):
        from deepface.commons.weight_utils import download_weights_if_necessary

        try:
            download_weights_if_necessary(file_name, list(sources), compression)
        except (ValueError, OSError, EOFError, BadZipFile) as exc:
            raise StartupError(f"{file_name} could not be downloaded from {' or '.join(sources)}.") from exc


def _silence() -> None:
    """Set a level above all that DeepFace and RetinaFace have: they print, and read it at their first import."""
    os.environ["DEEPFACE_LOG_LEVEL"] = os.environ["RETINAFACE_LOG_LEVEL"] = "100"


def _build(choice: ModelChoice) -> DeepFace:
    from deepface.commons import backend_utils
    from deepface.modules import detection, exceptions, modeling, preprocessing, representation

    if (running := backend_utils.get_backend_engine()) != choice.engine:
        raise ValueError(f"this process runs DeepFace on {running} already")
    return DeepFace(
        represent=representation.represent,
        recognizer=modeling.build_model(task="facial_recognition", model_name=choice.model),
        detector=modeling.build_model(task="face_detector", model_name=choice.detector),
        extract_face=detection.extract_face,
        resize_image=preprocessing.resize_image,
        normalize_input=preprocessing.normalize_input,
        no_face=(exceptions.FaceNotDetected, exceptions.ImgNotFound),  # ImgNotFound: every crop was empty
    )
