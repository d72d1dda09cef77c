"""The engine: a photo in, faces with embeddings out, by DeepFace's own pipeline or a faster one.

`deepface` gives the numbers of `DeepFace.represent`, whose inner function it calls; `fast` is `fast_pipeline.py`. Their
embeddings are near each other and not equal, so a gallery belongs to one of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import structlog

from app.adapters import deepface_library
from app.adapters.deepface_library import DeepFace, ModelChoice
from app.adapters.face_models import Engine, detector_facts, model_facts
from app.adapters.fast_pipeline import FastOptions, fast_faces
from app.adapters.found_faces import FoundFace, reduced
from app.domain import EmbeddingSpec, Face, ImageBgr, Photo
from app.errors import AppError, StartupError
from app.timing import stage

log = structlog.get_logger(__name__)

# DeepFace keeps its models per process and neither builds nor runs them thread-safely (its issues 571 and 995), so
# the lock is the process's too.
_DEEPFACE_LOCK = threading.Lock()


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
    pipeline: Literal["deepface", "fast"] = "deepface"


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
            pipeline=options.pipeline,
        )
        self.default_threshold = facts.threshold
        self._options = options
        self._loaded: DeepFace | None = None

    def warm(self) -> None:
        """Load both models and run each once, so that the first request is as fast as the second.

        :raises StartupError: a model cannot be loaded, or its embeddings have another length than the spec says.
        """
        with _DEEPFACE_LOCK:
            deepface = self._load()
            height, width = deepface.recognizer.input_shape
            # One face and several go different ways through DeepFace, and TensorFlow settles at the second number.
            for batch in (1, 2, 3):
                embeddings = deepface.embed(np.full((batch, height, width, 3), 0.5, dtype=np.float32))
            self._check_dimensions(embeddings.shape[1])
            self._find(deepface, Photo.of(np.full((480, 640, 3), 127, dtype=np.uint8)))

    def embed_faces(self, photo: Photo | ImageBgr) -> list[Face]:
        """Detect once, embed all faces.

        :param photo: as it was decoded, or (H, W, 3) uint8, BGR, upright.
        :return: faces, largest first, equal ones from top to bottom and left to right; boxes in pixels of the upright
            original, embeddings (D,) float64. No face: an empty list.
        :raises StartupError: the models were not loaded before and cannot be.
        :raises AppError: DeepFace failed on this photo.
        """
        if not isinstance(photo, Photo):
            photo = Photo.of(photo)
        with _DEEPFACE_LOCK:
            found = self._find(self._load(), photo)
        faces = [face for each in found if (face := each.face_of(photo.width, photo.height)) is not None]
        if len(faces) < len(found):
            log.warning("deepface.unusable_faces_left_out", found=len(found), kept=len(faces))
        return sorted(faces, key=lambda face: (-face.box.area, face.box.y, face.box.x))

    def confidence_of(self, distance: float, verified: bool) -> float:
        """DeepFace's confidence, 0 to 100, for a cosine distance (deepface.modules.verification.find_confidence)."""
        return float(deepface_library.find_confidence()(distance, self._options.model, verified, "cosine"))

    def _load(self) -> DeepFace:
        """DeepFace with both models built, once; the caller holds the lock."""
        if self._loaded is None:
            o = self._options
            self._loaded = deepface_library.load(ModelChoice(o.model, o.detector, o.engine, o.home))
        return self._loaded

    def _find(self, deepface: DeepFace, photo: Photo) -> list[FoundFace]:
        """The caller holds the lock."""
        try:
            if self._options.pipeline == "fast":
                return fast_faces(deepface, photo, _fast_options(self._options))
            with stage("embed"):  # DeepFace detects in the same call
                return _represented(deepface, photo, self._options)
        except (ValueError, RuntimeError, cv2.error) as exc:
            raise AppError("The recognition engine failed on this photo.", code="engine_failed") from exc

    def _check_dimensions(self, dimensions: int) -> None:
        if dimensions != self.spec.dimensions:
            raise StartupError(
                f"The weights of {self.spec.model} give embeddings of {dimensions} numbers instead of "
                f"{self.spec.dimensions}; they are of another model."
            )


def _fast_options(options: EngineOptions) -> FastOptions:
    return FastOptions(
        detector=detector_facts(options.detector),
        image_max_side=options.image_max_side,
        align=options.align,
        normalization=options.normalization,
        expand_percentage=options.expand_percentage,
        max_faces=options.max_faces,
    )


def _represented(deepface: DeepFace, photo: Photo, options: EngineOptions) -> list[FoundFace]:
    """DeepFace's own answer."""
    image = reduced(photo.whole(), options.image_max_side)
    try:
        faces = deepface.represent(
            img_path=image,
            model_name=options.model,
            detector_backend=options.detector,
            align=options.align,
            expand_percentage=options.expand_percentage,
            normalization=options.normalization,
            max_faces=options.max_faces,
        )
    except deepface.no_face:
        return []
    return [_found(face, image) for face in faces]


def _found(face: dict[str, Any], image: ImageBgr) -> FoundFace:
    area, (height, width) = face["facial_area"], image.shape[:2]
    embedding = np.asarray(face["embedding"], dtype=np.float64)
    share = (area["x"] / width, area["y"] / height, area["w"] / width, area["h"] / height)
    return FoundFace(*share, embedding, float(face["face_confidence"]))
