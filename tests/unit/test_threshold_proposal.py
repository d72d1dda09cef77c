"""Error rates with known answers, and the threshold that is proposed from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest
from app.services.calibration.error_rates import ErrorRates, propose_threshold, searches_for
from app.services.calibration.open_set import OpenSetSearches


def searches(mate: list[float], stranger: list[float]) -> OpenSetSearches:
    return OpenSetSearches(np.array(mate), np.array(stranger), np.zeros(len(mate), dtype=np.intp))


def rates(mate: list[float], stranger: list[float]) -> ErrorRates:
    return ErrorRates.of(searches(mate, stranger))


FOUR = rates(mate=[0.1, 0.2, 0.3, 0.5], stranger=[0.4, 0.6, 0.7, 0.8])


@pytest.mark.parametrize(
    ("threshold", "lost", "alarmed"), [(0.05, 4, 0), (0.1, 3, 0), (0.3, 1, 0), (0.4, 1, 1), (0.5, 0, 1), (0.9, 0, 4)]
)
def test_a_threshold_is_inclusive_and_counts_who_is_lost_and_who_is_named(
    threshold: float, lost: int, alarmed: int
) -> None:
    at = FOUR.at(threshold)
    assert (at.fnir.errors, at.fpir.errors) == (lost, alarmed)


def test_a_person_behind_a_stranger_is_lost_at_every_threshold() -> None:
    confused = rates(mate=[0.3, 0.1], stranger=[0.2, 0.5])
    assert confused.at(2.0).fnir.rate == 0.5


def test_a_person_at_a_strangers_distance_is_not_sure_to_be_named() -> None:
    assert rates(mate=[0.2, 0.1], stranger=[0.2, 0.5]).at(2.0).fnir.errors == 1


def test_a_persons_only_photo_counts_for_the_strangers_alone() -> None:
    at = rates(mate=[0.1, float("inf")], stranger=[0.4, 0.6]).at(0.5)
    assert (at.fnir.searches, at.fpir.searches) == (1, 2)


def test_where_nothing_goes_wrong_the_threshold_lies_midway_between_the_last_mate_and_the_first_stranger() -> None:
    proposal = propose_threshold(rates(mate=[0.02, 0.04], stranger=[0.10, 0.12]), 0.01)
    assert proposal.at.threshold == pytest.approx(0.07, abs=1e-5)
    assert (proposal.at.fnir.errors, proposal.at.fpir.errors) == (0, 0)


def test_a_wanted_rate_allows_as_many_false_alarms_and_no_more() -> None:
    mate, stranger = [0.45] * 1000, [0.4] * 3 + [0.6] * 997
    assert propose_threshold(rates([0.39] * 1000, stranger), 0.002).at.fpir.errors == 0
    proposal = propose_threshold(rates(mate, stranger), 0.003)
    assert proposal.at.fpir.errors == 3
    assert proposal.at.fpir.rate <= 0.003


def test_the_threshold_s_interval_narrows_with_the_number_of_searches_and_holds_the_proposal() -> None:
    rng = np.random.default_rng(3)

    def width(count: int) -> float:
        stranger = np.round(rng.uniform(0.2, 0.8, count), 6).tolist()
        proposal = propose_threshold(rates([0.1, 0.79] * (count // 2), stranger), 0.05)
        low, high = proposal.interval
        assert low is not None
        assert low <= high
        return high - low

    assert width(20_000) < width(500) / 3


def test_too_few_photos_are_said_to_be_too_few() -> None:
    sixty = rates([0.1] * 60, [0.5] * 60)
    assert not propose_threshold(sixty, 0.001).is_supported
    assert propose_threshold(sixty, 0.001).interval[0] is None
    assert propose_threshold(sixty, 0.05).is_supported
    assert searches_for(0.001) == 3000


def test_photos_of_two_persons_that_are_one_photo_are_named_as_the_reason() -> None:
    with pytest.raises(BadRequest, match="Check the labels"):
        propose_threshold(rates([0.1, 0.1], [0.0, 0.0]), 0.01)


def test_one_photo_a_person_or_one_person_only_cannot_be_calibrated_with() -> None:
    nowhere = float("inf")
    with pytest.raises(BadRequest, match="No person has two photos"):
        rates([nowhere, nowhere], [0.5, 0.5])
    with pytest.raises(BadRequest, match="one person"):
        rates([0.1, 0.1], [nowhere, nowhere])


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(1e-4, 1)), min_size=2, max_size=60),
    st.floats(0.001, 0.9),
)
def test_no_proposal_exceeds_the_wanted_rate_and_none_within_it_loses_fewer(
    distances: list[tuple[float, float]], wanted: float
) -> None:
    measured = rates([round(mate, 6) for mate, _ in distances], [round(stranger, 6) for _, stranger in distances])
    proposed = propose_threshold(measured, wanted).at
    assert proposed.fpir.rate <= wanted
    within = [at for at in measured.curve(1000) if at.fpir.rate <= wanted]
    assert all(at.fnir.errors >= proposed.fnir.errors for at in within)


def test_the_curve_keeps_every_one_of_the_first_false_alarms_and_few_points_of_the_rest() -> None:
    rng = np.random.default_rng(4)
    many = rates(np.round(rng.uniform(0, 0.5, 5000), 6).tolist(), np.round(rng.uniform(0.3, 1, 5000), 6).tolist())
    curve = many.curve(400)
    assert len(curve) <= 400
    assert [at.fpir.errors for at in curve if 0 < at.fpir.errors <= 50] == list(range(1, 51))
