"""Which cosine distance still counts as the same person, by everything that moves it: model, detector and pipeline.

Two questions, two tables' worth of answers. What a spec *serves* where nobody sets FACE_DISTANCE_THRESHOLD: for the
pipeline `deepface` always DeepFace's own threshold of the model, because a PKL gallery owes the answers of
`DeepFace.find`; for another pipeline the one that was measured with it, and DeepFace's where none was. And what a
measurement *advises* beside it: a detector crops in its own way and thereby moves the distances, which a threshold of
the model alone cannot know. A measurement speaks for the pipeline it was made with and for no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from app.adapters.face_models import model_facts
from app.domain import DEEPFACE_PIPELINE, EmbeddingSpec

_MEASURED_AT_640 = "best separation of 300 labelled photo pairs at 640 px, DeepFace 0.0.103"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A largest cosine distance of the same person.

    :param distance: inclusive, as in DeepFace.
    :param source: where the number comes from, for a log line or a table.
    """

    distance: float
    source: str


# (model, detector, pipeline). A new line needs `scripts.calibrate_threshold`'s report behind it, made with that spec.
MEASURED: Mapping[tuple[str, str, str], Threshold] = MappingProxyType(
    {
        ("Dlib", "dlib", DEEPFACE_PIPELINE): Threshold(0.075, _MEASURED_AT_640),
        ("Dlib", "mtcnn", DEEPFACE_PIPELINE): Threshold(0.047, _MEASURED_AT_640),
        ("Dlib", "opencv", DEEPFACE_PIPELINE): Threshold(0.058, _MEASURED_AT_640),
    }
)


def default_threshold(spec: EmbeddingSpec) -> Threshold:
    """The threshold of a spec where FACE_DISTANCE_THRESHOLD is not set.

    :raises StartupError: an unknown model.
    """
    measured = measured_threshold(spec)
    if measured is not None and spec.pipeline != DEEPFACE_PIPELINE:
        return measured
    source = f"DeepFace's own for {spec.model}"
    if measured is not None:
        source += f"; with the detector {spec.detector}, {measured.distance:g} was better ({measured.source})"
    return Threshold(model_facts(spec.model).threshold, source)


def measured_threshold(spec: EmbeddingSpec) -> Threshold | None:
    """What a measurement with this model, detector and pipeline advises; None where there was none."""
    return MEASURED.get((spec.model, spec.detector, spec.pipeline))
