"""Video jobs in words."""

from __future__ import annotations

import pytest

from app.services.video import wording
from app.services.video.job_records import JobState
from app.services.video.job_watch import STAGES


@pytest.mark.parametrize(
    ("similarity", "word"),
    [(0.95, "near-certain"), (0.90, "near-certain"), (0.89, "very strong"), (0.70, "strong"), (0.60, "weak")],
)
def test_a_similarity_of_arcface_has_the_word_of_the_contract(similarity: float, word: str) -> None:
    step = wording.strength(similarity, "ArcFace")
    assert step is not None
    assert step.word == word


@pytest.mark.parametrize("similarity", [0.59, 0.2, -0.4])
def test_less_than_a_weak_similarity_is_not_called_one(similarity: float) -> None:
    step = wording.strength(similarity, "Buffalo_L")
    assert step is not None
    assert step.word == "below weak"


@pytest.mark.parametrize("model", ["Dlib", "Facenet512", None])
def test_a_similarity_of_another_model_has_no_word(model: str | None) -> None:
    assert wording.strength(0.99, model) is None
    assert not wording.has_scale(model)


def test_every_state_and_stage_of_a_job_has_words() -> None:
    assert list(wording.STATES) == list(JobState)
    assert list(wording.STAGES) == list(STAGES)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00"), (7.96, "0:07"), (760, "12:40"), (3723, "1:02:03"), (7200, "2:00:00")]
)
def test_a_place_in_a_video_reads_as_in_a_player(seconds: float, text: str) -> None:
    assert wording.clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (3.4, "about 3 s left"), (89.0, "about 89 s left"), (600, "about 10 min left")]
)
def test_the_time_left_is_rounded_to_what_one_waits_by(seconds: float | None, text: str) -> None:
    assert wording.time_left(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(400, "0 KB"), (40_000, "39 KB"), (5_000_000_000, "4,768.4 MB")])
def test_a_file_has_its_size_in_megabytes_and_a_small_one_in_kilobytes(count: int, text: str) -> None:
    assert wording.size(count) == text
