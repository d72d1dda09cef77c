"""The engine's part of the composition root: weights, detection and embedding, what counts as a match."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from app.controllers.recognition_controller import PhotoLimits
from app.images import ImageLimits
from app.services.matching import MatchPolicy

if TYPE_CHECKING:
    from app.adapters.deepface_engine import DeepFaceEngine
    from app.adapters.face_thresholds import Threshold
    from app.domain import EmbeddingSpec
    from config import Settings

MEGA = 1_000_000


class EngineParts:
    """What every container has of the engine; made when it is first asked for."""

    settings: Settings

    @cached_property
    def engine(self) -> DeepFaceEngine:
        """Detection and embedding, its weights found and checked; the models themselves are loaded by `warm()`."""
        return self.engine_with(weights_sha256(self.settings))

    def engine_with(self, weights_sha256: str) -> DeepFaceEngine:
        """The engine as it is set, with weights of this digest; nothing is looked for, and no model loaded."""
        return engine(self.settings, weights_sha256)

    @cached_property
    def photo_limits(self) -> PhotoLimits:
        """What a photo must satisfy to be recognised."""
        return photo_limits(self.settings)

    @cached_property
    def threshold(self) -> Threshold:
        """The largest cosine distance of a match, and who says so."""
        return threshold(self.settings, self.engine.spec)

    @cached_property
    def pkl_policy(self) -> MatchPolicy:
        """What counts as a match in the PKL gallery."""
        return MatchPolicy(threshold=self.threshold.distance, confidence_of=self.engine.confidence_of)

    @cached_property
    def pgvector_policy(self) -> MatchPolicy:
        """What counts as a match in pgvector: the same, unless a similarity of its own is set."""
        similarity = self.settings.vector_db_similarity_threshold
        if similarity is None:
            return self.pkl_policy
        return MatchPolicy(threshold=round(1.0 - similarity, 6), confidence_of=self.engine.confidence_of)


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


def threshold(settings: Settings, spec: EmbeddingSpec) -> Threshold:
    """The one that is set, or the spec's own."""
    from app.adapters.face_thresholds import Threshold, default_threshold

    given = settings.face_distance_threshold
    return default_threshold(spec) if given is None else Threshold(given, "FACE_DISTANCE_THRESHOLD")
