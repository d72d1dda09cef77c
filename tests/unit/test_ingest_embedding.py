"""What is enrolled of a photo, and the reasons why nothing is."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import pytest

from app.domain import Face, FaceBox, ImageBgr
from app.errors import AppError, StartupError
from app.images import ImageLimits
from app.services.ingest.embedding import FacePolicy, ImageOutcome, PhotoEmbedder

LIMITS = ImageLimits(max_pixels=1_000_000)


def face(size: int) -> Face:
    return Face(FaceBox(0, 0, size, size), np.ones(4), 1.0)


class Engine:
    """Finds the faces, or raises the error, that a test wants."""

    def __init__(self, answer: list[Face] | Exception) -> None:
        self._answer = answer

    def embed_faces(self, image_bgr: ImageBgr) -> list[Face]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def embedder(answer: list[Face] | Exception, policy: FacePolicy = FacePolicy.LARGEST) -> PhotoEmbedder:
    return PhotoEmbedder(cast(Any, Engine(answer)), LIMITS, min_face_px=20, policy=policy)


def photo(side: int = 64) -> bytes:
    return bytes(cv2.imencode(".png", np.zeros((side, side, 3), dtype=np.uint8))[1])


@pytest.mark.parametrize(("policy", "sizes"), [(FacePolicy.LARGEST, [60]), (FacePolicy.ALL, [60, 30])])
def test_of_several_faces_the_policy_chooses(policy: FacePolicy, sizes: list[int]) -> None:
    result = embedder([face(60), face(30), face(10)], policy)(photo())
    assert (result.outcome, [f.box.w for f in result.faces], result.faces_found) == (ImageOutcome.DONE, sizes, 3)


def test_a_photo_with_several_faces_is_skipped_where_the_policy_says_so() -> None:
    result = embedder([face(60), face(30)], FacePolicy.SKIP)(photo())
    assert (result.outcome, result.faces) == (ImageOutcome.SEVERAL_FACES, ())


def test_a_tiny_face_beside_a_clear_one_is_no_reason_to_skip() -> None:
    assert embedder([face(60), face(10)], FacePolicy.SKIP)(photo()).outcome is ImageOutcome.DONE


@pytest.mark.parametrize(
    ("answer", "data", "outcome"),
    [
        ([], photo(), ImageOutcome.NO_FACE),
        ([face(10)], photo(), ImageOutcome.TOO_SMALL),
        ([face(60)], photo(8), ImageOutcome.TOO_SMALL),
        ([face(60)], b"no photo", ImageOutcome.UNREADABLE),
        ([face(60)], b"", ImageOutcome.UNREADABLE),
        (AppError("The engine failed."), photo(), ImageOutcome.FAILED),
        (KeyError("a bug"), photo(), ImageOutcome.FAILED),
    ],
)
def test_what_is_not_enrolled_has_an_outcome_and_a_reason(
    answer: list[Face] | Exception, data: bytes, outcome: ImageOutcome
) -> None:
    result = embedder(answer)(data)
    assert (result.outcome, result.faces) == (outcome, ())
    assert result.reason


def test_a_model_that_cannot_be_loaded_is_no_fault_of_the_photo() -> None:
    with pytest.raises(StartupError):
        embedder(StartupError("No weights."))(photo())
