"""DeepFace, behind one class: an image in, faces with embeddings out. No other module imports DeepFace.

The numbers are those of `DeepFace.represent`, whose inner function this module calls. DeepFace itself is imported
when an engine is first used, so that a process that forks afterwards has loaded neither a model nor a runtime.
"""

from __future__ import annotations

import ast
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import cv2
import numpy as np
import structlog

from app.adapters.face_models import Engine, detector_facts, model_facts
from app.domain import EmbeddingSpec, Face, FaceBox, ImageBgr
from app.errors import AppError, StartupError

log = structlog.get_logger(__name__)

Task = Literal["facial_recognition", "face_detector"]

# DeepFace keeps its models per process and neither builds nor runs them thread-safely (its issues 571 and 995), so
# the lock is the process's too.
_DEEPFACE_LOCK = threading.Lock()

# RetinaFace is a package of its own, and DeepFace's module for it does not say where the weights come from.
_RETINAFACE_MODULES: dict[Engine, str] = {
    "onnx": "retinaface.model.retinaface_onnx_model",
    "tensorflow": "retinaface.model.retinaface_model",
}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How faces are found and embedded.

    :param home: what DeepFace calls DEEPFACE_HOME; the weights are in `.deepface/weights` below it.
    :param weights_sha256: hex digest of the recogniser's weights file.
    :param image_max_side: long side, in pixels, a photo is reduced to before detection; 0 for no limit.
    :param max_faces: of a crowd, only so many of the largest faces are embedded.
    """

    model: str
    detector: str
    engine: Engine
    home: Path
    weights_sha256: str
    align: bool = True
    normalization: str = "base"
    expand_percentage: int = 0
    image_max_side: int = 1280
    max_faces: int = 64


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What the engine uses of DeepFace, once it is imported and its models are built."""

    represent: Callable[..., Any]
    recognizer: Any
    no_face: tuple[type[Exception], ...]


class DeepFaceEngine:
    """Finds and embeds the faces of a photo; safe under threads, which take turns.

    :param options: checked at once, against what is known without importing DeepFace.
    :raises StartupError: an unknown model or detector.
    """

    def __init__(self, options: EngineOptions) -> None:
        facts = model_facts(options.model)
        self.spec = EmbeddingSpec(
            model=options.model,
            weights_sha256=options.weights_sha256,
            detector=detector_facts(options.detector).name,
            align=options.align,
            normalization=options.normalization,
            expand_percentage=options.expand_percentage,
            image_max_side=options.image_max_side,
            dimensions=facts.dimensions,
        )
        self.default_threshold = facts.threshold
        self._options = options
        self._loaded: _Loaded | None = None

    def warm(self) -> None:
        """Load both models and run each once, so that the first request is as fast as the second.

        :raises StartupError: a model cannot be loaded, or its embeddings have another length than the spec says.
        """
        with _DEEPFACE_LOCK:
            loaded = self._load()
            height, width = loaded.recognizer.input_shape
            # One face and several go different ways through DeepFace, and TensorFlow settles at the second number.
            for batch in (1, 2, 3):
                embeddings = loaded.recognizer.forward(np.full((batch, height, width, 3), 0.5, dtype=np.float32))
            self._check_dimensions(np.asarray(embeddings).shape[-1])
            self._represent(loaded, np.full((480, 640, 3), 127, dtype=np.uint8))

    def embed_faces(self, image_bgr: ImageBgr) -> list[Face]:
        """Detect once, embed all faces.

        :param image_bgr: (H, W, 3) uint8, upright.
        :return: faces, largest first, equal ones from top to bottom and left to right; boxes in pixels of `image_bgr`,
            embeddings (D,) float64. No face: an empty list.
        :raises StartupError: the models were not loaded before and cannot be.
        :raises AppError: DeepFace failed on this photo.
        """
        reduced = _reduced(image_bgr, self._options.image_max_side)
        with _DEEPFACE_LOCK:
            found = self._represent(self._load(), reduced)
        faces = [face for each in found if (face := _face(each, reduced.shape, image_bgr.shape)) is not None]
        if len(faces) < len(found):
            log.warning("deepface.unusable_faces_left_out", found=len(found), kept=len(faces))
        return sorted(faces, key=lambda face: (-face.box.area, face.box.y, face.box.x))

    def confidence_of(self, distance: float, verified: bool) -> float:
        """DeepFace's confidence, 0 to 100, for a cosine distance (deepface.modules.verification.find_confidence)."""
        return float(_find_confidence()(distance, self._options.model, verified, "cosine"))

    def _load(self) -> _Loaded:
        """DeepFace with both models built, once; the caller holds the lock."""
        if self._loaded is None:
            options = self._options
            _set_environment(options.home, options.engine)
            # RetinaFace's import switches the warnings of the whole process off.
            with warnings.catch_warnings():
                try:
                    self._loaded = _build(options)
                except (ImportError, ValueError, OSError, RuntimeError, AttributeError) as exc:
                    raise StartupError(
                        f"DeepFace cannot load {options.model} with the detector {options.detector} "
                        f"on {options.engine}: {exc}"
                    ) from exc
        return self._loaded

    def _represent(self, loaded: _Loaded, image_bgr: ImageBgr) -> list[dict[str, Any]]:
        """DeepFace's own answer, one dict per face; the caller holds the lock."""
        options = self._options
        try:
            faces: list[dict[str, Any]] = loaded.represent(
                img_path=image_bgr,
                model_name=options.model,
                detector_backend=options.detector,
                align=options.align,
                expand_percentage=options.expand_percentage,
                normalization=options.normalization,
                max_faces=options.max_faces,
            )
        except loaded.no_face:
            return []
        except (ValueError, RuntimeError, cv2.error) as exc:
            raise AppError("The recognition engine failed on this photo.", code="engine_failed") from exc
        return faces

    def _check_dimensions(self, dimensions: int) -> None:
        if dimensions != self.spec.dimensions:
            raise StartupError(
                f"The weights of {self.spec.model} give embeddings of {dimensions} numbers instead of "
                f"{self.spec.dimensions}; they are of another model."
            )


def weights_sources(task: Task, name: str, engine: Engine, file_name: str) -> tuple[str, ...]:
    """The addresses DeepFace itself would download a weights file from, best first.

    Its modules are read and not imported, because importing a TensorFlow model imports TensorFlow.
    """
    assignments = [node for node in ast.walk(_source_of(task, name, engine)) if isinstance(node, ast.Assign | ast.Call)]
    known: dict[str, None] = {}
    for node in assignments:
        texts = list(_texts(node))
        addresses = [text for text in texts if text.startswith("https://")]
        if addresses and any(_names(text, file_name) for text in texts):
            return tuple(addresses)
        known.update(dict.fromkeys(addresses))
    # Two models' addresses do not end with the file's name; they are the only ones in their modules.
    return tuple(known) if len(known) == 1 else ()


def download_weights(file_name: str, sources: tuple[str, ...], home: Path, engine: Engine) -> Path:
    """Have DeepFace download (and unpack) one weights file into an empty DEEPFACE_HOME, silently.

    :return: where it is, below `home`.
    :raises StartupError: no source could be reached.
    """
    _set_environment(home, engine)
    target = home / ".deepface" / "weights" / file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    compression = next((kind for kind in ("zip", "bz2") if sources[0].endswith(f".{kind}")), None)
    noise = StringIO()
    with redirect_stdout(noise), redirect_stderr(noise):
        from deepface.commons.weight_utils import download_weights_if_necessary

        try:
            download_weights_if_necessary(file_name, list(sources), compression)
        except (ValueError, OSError, EOFError, BadZipFile) as exc:
            raise StartupError(f"{file_name} could not be downloaded from {' or '.join(sources)}.") from exc
    return target


def _silence() -> None:
    """Set a level above all that DeepFace and RetinaFace have: they print, and read it at their first import."""
    os.environ["DEEPFACE_LOG_LEVEL"] = os.environ["RETINAFACE_LOG_LEVEL"] = "100"


def _set_environment(home: Path, engine: Engine) -> None:
    """Tell DeepFace, RetinaFace and TensorFlow what they read from the environment, before their import."""
    _silence()
    os.environ["DEEPFACE_HOME"] = str(home.absolute())
    os.environ["DEEPFACE_BACKEND_ENGINE"] = engine
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # As `import deepface.DeepFace` has it; but TensorFlow fails when it is told to use a package that is not there.
    os.environ["TF_USE_LEGACY_KERAS"] = "1" if find_spec("tf_keras") else "0"


@cache
def _find_confidence() -> Callable[..., float]:
    """Outside the lock on purpose: a pure function must not wait for another thread's photo."""
    _silence()
    from deepface.modules.verification import find_confidence

    function: Callable[..., float] = find_confidence
    return function


def _build(options: EngineOptions) -> _Loaded:
    from deepface.commons import backend_utils
    from deepface.modules import exceptions, modeling, representation

    if (running := backend_utils.get_backend_engine()) != options.engine:
        raise ValueError(f"this process runs DeepFace on {running} already")
    recognizer = modeling.build_model(task="facial_recognition", model_name=options.model)
    modeling.build_model(task="face_detector", model_name=options.detector)
    no_face = (exceptions.FaceNotDetected, exceptions.ImgNotFound)  # ImgNotFound: every crop was empty
    return _Loaded(representation.represent, recognizer, no_face)


def _reduced(image_bgr: ImageBgr, max_side: int) -> ImageBgr:
    """The image, or a copy whose long side is `max_side`."""
    height, width = image_bgr.shape[:2]
    if not max_side or max(height, width) <= max_side:
        return image_bgr
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _face(found: dict[str, Any], reduced: tuple[int, ...], original: tuple[int, ...]) -> Face | None:
    """DeepFace's dict as a `Face`; None where no distance to it can be measured or it lies outside the image."""
    embedding = np.asarray(found["embedding"], dtype=np.float64)
    area = found["facial_area"]
    if not np.isfinite(embedding).all() or not embedding.any() or area["w"] <= 0 or area["h"] <= 0:
        return None
    across, down = original[1] / reduced[1], original[0] / reduced[0]
    x, y = round(area["x"] * across), round(area["y"] * down)
    width, height = min(round(area["w"] * across), original[1] - x), min(round(area["h"] * down), original[0] - y)
    confidence = min(max(float(found["face_confidence"]), 0.0), 1.0)
    return Face(FaceBox(x, y, width, height), embedding, confidence)


def _source_of(task: Task, name: str, engine: Engine) -> ast.Module:
    _silence()
    from deepface.modules.modeling import ANY, AVAILABLE_MODELS

    paths = AVAILABLE_MODELS[task][name]
    module = (paths.get(engine) or paths[ANY]).rpartition(".")[0]
    spec = find_spec(_RETINAFACE_MODULES[engine] if name == "retinaface" else module)
    if spec is None or spec.origin is None:
        return ast.Module(body=[], type_ignores=[])
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _texts(node: ast.AST) -> Iterator[str]:
    return (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))


def _names(text: str, file_name: str) -> bool:
    return text.removesuffix(".bz2").removesuffix(".zip").rpartition("/")[2] == file_name
