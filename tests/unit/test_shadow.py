"""The control's answer never depends on the candidate."""

import threading
from collections.abc import Iterator

import pytest

from app.errors import AppError, StoreUnavailable
from app.services.shadow import Shadow


@pytest.fixture
def shadow() -> Iterator[Shadow]:
    """One whose limit nothing reaches but a candidate that hangs."""
    made = Shadow(limit_s=30, threads=2)
    yield made
    made.close()


@pytest.fixture
def impatient() -> Iterator[Shadow]:
    made = Shadow(limit_s=0.05, threads=2)
    yield made
    made.close()


def test_both_values_are_given_when_both_answer(shadow: Shadow) -> None:
    value, control_ms, outcome = shadow.run(lambda: "control", lambda: "candidate")
    assert (value, outcome.value, outcome.error) == ("control", "candidate", None)
    assert control_ms >= 0


def test_a_failing_candidate_becomes_an_outcome_and_not_an_exception(shadow: Shadow) -> None:
    def fail() -> str:
        raise StoreUnavailable("the database is away")

    value, _, outcome = shadow.run(lambda: "control", fail)
    assert value == "control"
    assert outcome.error is not None
    assert outcome.error.error_code == "store_unavailable"


def test_even_a_bug_in_the_candidate_stays_inside(shadow: Shadow) -> None:
    value, _, outcome = shadow.run(lambda: "control", lambda: 1 / 0)
    assert value == "control"
    assert isinstance(outcome.error, AppError)
    assert "ZeroDivisionError" in outcome.error.message


def test_a_candidate_that_hangs_is_left_behind_at_its_limit(impatient: Shadow) -> None:
    release = threading.Event()
    value, _, outcome = impatient.run(lambda: "control", lambda: release.wait(30))
    release.set()
    assert value == "control"
    assert outcome.error is not None
    assert outcome.error.error_code == "candidate_timeout"


def test_hanging_candidates_do_not_pile_up_behind_each_other() -> None:
    impatient = Shadow(limit_s=0.05, threads=2, rest_s=0.0)
    release, started = threading.Event(), []

    def hang() -> None:
        started.append(1)
        release.wait(30)

    outcomes = [impatient.run(lambda: None, hang)[2] for _ in range(5)]
    assert all(o.error is not None for o in outcomes)
    assert len(started) == 2, "more candidates were started than there are threads"
    release.set()
    answers = [impatient.run(lambda: None, lambda: "recovered")[2].value for _ in range(20)]
    assert answers[-1] == "recovered"


def test_after_several_that_hang_none_is_asked_for_a_while() -> None:
    shadow = Shadow(limit_s=0.05, threads=2, rest_s=60.0)
    release = threading.Event()
    for _ in range(5):
        shadow.run(lambda: None, lambda: release.wait(30))
    release.set()
    asked: list[int] = []
    value, _, outcome = shadow.run(lambda: "control", lambda: asked.append(1))
    assert (value, asked) == ("control", [])
    assert outcome.error is not None
    assert outcome.error.error_code == "candidate_timeout"


def test_the_controls_failure_is_the_callers(shadow: Shadow) -> None:
    def fail() -> None:
        raise StoreUnavailable("no PKL")

    with pytest.raises(StoreUnavailable, match="no PKL"):
        shadow.run(fail, lambda: "candidate")
