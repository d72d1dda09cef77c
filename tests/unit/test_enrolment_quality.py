"""Which photos somebody may be known by, and what a refusal says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain import Face, FaceBox, ImageBgr
from app.errors import NoFace
from app.services.people.enrolment_quality import PoorPhoto, QualityLimits, dominant_face, require_quality, sharpness

LIMITS = QualityLimits(min_face_px=60, min_sharpness=60, min_brightness=40, max_brightness=220, dominance=4)
WHOLE = FaceBox(0, 0, 200, 200)


def pattern(contrast: float = 60, side: int = 200, coarseness: int = 4) -> NDArray[np.float64]:
    """A checked surface around middle grey."""
    rows, columns = np.indices((side, side)) // coarseness
    return 128 + contrast * ((rows + columns) % 2 - 0.5)


def photo(grey: NDArray[np.float64]) -> ImageBgr:
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def face(side: int) -> Face:
    return Face(FaceBox(0, 0, side, side), np.ones(4), 1.0)


def missed(image: ImageBgr, box: FaceBox = WHOLE) -> dict[str, tuple[float, float]]:
    with pytest.raises(PoorPhoto) as caught:
        require_quality(image, box, LIMITS)
    return {each["check"]: (each["measured"], each["required"]) for each in caught.value.details["missed"]}


def test_a_large_sharp_and_well_lit_face_passes() -> None:
    require_quality(photo(pattern()), WHOLE, LIMITS)


def test_each_limit_that_is_missed_is_named_with_what_was_measured_and_what_is_needed() -> None:
    assert missed(photo(pattern()), FaceBox(0, 0, 59, 100)) == {"face_size_px": (59, 60)}
    assert missed(photo(pattern() - 100)) == {"brightness": (pytest.approx(28, abs=2), 40)}
    assert missed(photo(pattern(contrast=20) + 100)).keys() >= {"brightness"}
    assert missed(photo(np.full((200, 200), 128.0))) == {"sharpness": (0, 60)}
    assert missed(photo(np.full((200, 200), 3.0)), FaceBox(0, 0, 20, 20)).keys() == {
        "face_size_px",
        "sharpness",
        "brightness",
    }


def test_the_sentence_says_the_same_in_words() -> None:
    with pytest.raises(PoorPhoto, match=r"face_size_px is 59\.0, at least 60 is needed"):
        require_quality(photo(pattern()), FaceBox(0, 0, 59, 100), LIMITS)


def test_sharpness_falls_with_blur_and_does_not_depend_on_the_size_of_the_photo() -> None:
    sharp = pattern(side=112, coarseness=8)
    blurred = (sharp + np.roll(sharp, 3, 0) + np.roll(sharp, 3, 1) + np.roll(sharp, (3, 3), (0, 1))) / 4
    assert sharpness(blurred) < sharpness(sharp) / 2
    enlarged = np.kron(sharp, np.ones((5, 5)))
    assert sharpness(enlarged) == pytest.approx(sharpness(sharp))


def test_a_face_that_reaches_over_the_edge_is_measured_as_far_as_it_is_in_the_photo() -> None:
    require_quality(photo(pattern()), FaceBox(-20, -20, 300, 300), LIMITS)


def test_one_face_is_enrolled_and_of_several_only_one_that_stands_out() -> None:
    alone, large, small = face(100), face(201), face(100)
    assert dominant_face([alone], 4) is alone
    assert dominant_face([large, small], 4) is large
    with pytest.raises(PoorPhoto) as caught:
        dominant_face([face(150), small], 4)
    assert (caught.value.error_code, caught.value.details) == (
        "several_faces",
        {"faces": 2, "ratio": 2.25, "required": 4},
    )
    with pytest.raises(NoFace):
        dominant_face([], 4)
