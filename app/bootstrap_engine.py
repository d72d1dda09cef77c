"""The engine's part of the composition root: weights, detection and embedding, what counts as a match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.controllers.recognition_controller import PhotoLimits
from app.images import ImageLimits

if TYPE_CHECKING:
    from app.adapters.deepface_engine import DeepFaceEngine
    from app.adapters.face_thresholds import Threshold
    from app.bootstrap import Container
    from config import Settings

MEGA = 1_000_000


def weights_sha256(settings: Settings) -> str:
    """The digest of the recogniser's weights, which are found, fetched where that is allowed, and checked.

    :raises StartupError: they are missing or others than expected, or the model cannot be indexed.
    """
    from app.adapters.face_models import model_facts, require_indexable
    from app.adapters.model_weights import WeightsRequest, ensure_weights

    if settings.vector_db_enabled:
        require_indexable(model_facts(settings.face_model))
    weights = ensure_weights(
        WeightsRequest(
            home=settings.weights_home,
            model=settings.face_model,
            detector=settings.face_detector,
            engine=settings.face_engine,
            sha256=settings.face_weights_sha256,
            download=settings.face_weights_download,
        )
    )
    return weights.recognizer_sha256


def engine(settings: Settings, weights_sha256: str) -> DeepFaceEngine:
    """The engine as it is set, with weights of this digest; nothing is looked for, and no model loaded."""
    from app.adapters.deepface_engine import DeepFaceEngine, EngineOptions

    return DeepFaceEngine(
        EngineOptions(
            model=settings.face_model,
            detector=settings.face_detector,
            engine=settings.face_engine,
            home=settings.weights_home,
            weights_sha256=weights_sha256,
            align=settings.face_align,
            normalization=settings.face_normalization,
            expand_percentage=settings.face_expand_percentage,
            image_max_side=settings.face_image_max_side,
            pipeline=settings.face_pipeline,
        )
    )


def photo_limits(settings: Settings) -> PhotoLimits:
    """What a photo must satisfy; `fast` wants no more pixels of it than it works on."""
    enough_side = settings.face_image_max_side if settings.face_pipeline == "fast" else 0
    image = ImageLimits(max_pixels=settings.image_max_megapixels * MEGA, enough_side=enough_side)
    return PhotoLimits(image=image, min_face_px=settings.face_min_size)


def threshold(container: Container) -> Threshold:
    """The one that is set, or the spec's own."""
    from app.adapters.face_thresholds import Threshold, default_threshold

    given = container.settings.face_distance_threshold
    return default_threshold(container.engine.spec) if given is None else Threshold(given, "FACE_DISTANCE_THRESHOLD")
