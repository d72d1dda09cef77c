"""Which threshold a spec serves, and who says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.adapters import face_thresholds
from app.adapters.face_models import MODELS
from app.adapters.face_thresholds import MEASURED, Threshold, default_threshold, measured_threshold
from app.bootstrap import Container
from app.domain import EmbeddingSpec
from config import Settings

SPEC = EmbeddingSpec("Dlib", "0" * 64, "opencv", True, "base", 0, 640, 128)


@pytest.mark.parametrize("detector", ["dlib", "mtcnn", "opencv", "retinaface"])
def test_deepface_s_pipeline_serves_deepface_s_threshold_whatever_was_measured(detector: str) -> None:
    assert default_threshold(replace(SPEC, detector=detector)).distance == 0.07


def test_the_source_says_what_a_measurement_advises_instead() -> None:
    assert "0.058 was better" in default_threshold(SPEC).source


def test_another_pipeline_serves_what_was_measured_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = replace(SPEC, pipeline="fast", detector="mtcnn")
    assert measured_threshold(fast) is None, "a measurement of another pipeline does not speak for it"
    assert default_threshold(fast).distance == 0.07
    measured = Threshold(0.05, "a calibration")
    monkeypatch.setattr(face_thresholds, "MEASURED", {("Dlib", "mtcnn", "fast"): measured})
    assert default_threshold(fast) == measured


def test_every_measured_threshold_is_of_a_model_that_exists_and_says_where_it_comes_from() -> None:
    for (model, _, _), threshold in MEASURED.items():
        assert model in MODELS
        assert 0 < threshold.distance < 2
        assert threshold.source


def test_the_operator_s_threshold_comes_before_all_others() -> None:
    settings = Settings(face_model="Dlib", face_detector="dlib", face_distance_threshold=0.06, _env_file=None)
    container = Container(settings)
    assert (container.threshold.distance, container.threshold.source) == (0.06, "FACE_DISTANCE_THRESHOLD")
