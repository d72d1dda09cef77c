"""What was seen of a difference, in sentences; and the gates' figures with their units."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.services.parity import wording
from app.services.parity.charts import CAUSES
from app.services.parity.html_report import GATE_TITLES
from app.services.parity.records import Cause, StoredComparison


def comparison(proof: dict[str, Any] | None, cause: str | None = None, verdict: str = "differ") -> StoredComparison:
    nothing: dict[str, Any] = dict.fromkeys(StoredComparison.__dataclass_fields__)
    known = {"id": 1, "at": datetime.now(UTC), "domain": "demo", "details": [], "verdict": verdict}
    return StoredComparison(**nothing | known | {"proof": proof, "cause": cause})


def told(cause: Cause, thresholds: tuple[float, float] = (0.07, 0.07), **person: Any) -> str | None:
    held = {"name": "Ana", "image": "Ana/1.jpg", "pkl_distance": 0.07, "pgvector_distance": 0.07, "cause": cause}
    face = {
        "face": 0,
        "cause": cause,
        "exact": [{"name": "Eva"}, {"name": "Ana"}],
        "thresholds": dict(zip(("pkl", "pgvector"), thresholds, strict=True)),
        "persons": [{"name": "Eva", "cause": None}, held | person],
    }
    return wording.seen(comparison({"faces": [face]}))[0].persons[0].sentence


def test_every_cause_and_every_gate_has_its_words() -> None:
    assert set(wording.MEANINGS) == set(CAUSES) == {*map(str, Cause), "pending"}
    for name in GATE_TITLES:
        gate = {"name": name, "state": "undecided", "value": None, "wanted": None, "message": ""}
        assert (wording.gate_in_words(gate).value, wording.gate_in_words(gate).wanted) == ("-", "-")


@pytest.mark.parametrize(
    ("name", "value", "wanted", "expected"),
    [
        ("match_rate", 0.9742, 0.95, ("97.42 %", "over 95.00 %")),
        ("candidate_errors", 0.0002, 0.001, ("0.020 %", "under 0.100 %")),
        ("comparisons", 12345, 1000, ("12,345", "at least 1,000")),
        ("hours", 167.94, 24.0, ("167.9 h", "at least 24.0 h")),
        ("latency", 4.31, 9.58, ("4.3 ms", "under 9.6 ms")),
    ],
)
def test_a_gates_figures_carry_their_units(name: str, value: float, wanted: float, expected: tuple[str, str]) -> None:
    gate = {"name": name, "state": "passed", "value": value, "wanted": wanted, "message": "So it is."}
    found = wording.gate_in_words(gate)
    assert (found.value, found.wanted) == expected


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ({"pgvector_distance": None}, "pgvector holds nothing of Ana."),
        ({"pkl_distance": None}, "The PKL holds nothing of Ana."),
        ({"images_only_in_pkl": 1, "images_with_other_vectors": 2}, "Of Ana: 1 photo only in the PKL, 2 photos with "),
        ({}, "What is held of Ana has changed since the galleries answered."),
    ],
)
def test_drift_says_which_gallery_lacks_what(person: dict[str, Any], expected: str) -> None:
    assert (told(Cause.GALLERY_DRIFT, **person) or "").startswith(expected)


def test_the_other_causes_name_the_place_the_distance_and_the_thresholds() -> None:
    assert (
        told(Cause.ANN_MISS) == "An exact search of the database finds Ana in place 2; the index did not return them."
    )
    assert told(Cause.THRESHOLD_EDGE) == "Ana is at 0.070000, at the threshold 0.07."
    assert told(Cause.THRESHOLD_EDGE, (0.07, 0.08)) == "Ana is at 0.070000, between the thresholds 0.07 and 0.08."
    assert "as far away" in (told(Cause.TIE) or "")
    assert told(Cause.SPEC_MISMATCH) == "The photos of Ana have another vector in each gallery."


def test_a_gallery_without_an_answer_has_its_own_sentence_and_a_difference_not_looked_into_says_so() -> None:
    failed = {"error": {"code": "store_unavailable", "message": "The database is away."}}
    assert wording.failure(comparison(failed, Cause.CANDIDATE_ERROR, "candidate_failed")) == "The database is away."
    assert wording.failure(comparison(None)) is None
    assert wording.seen(comparison(None)) == {}
    assert "looked for the cause yet" in wording.meaning(comparison(None))


@pytest.mark.parametrize(
    ("pkl", "pgvector", "differs", "expected"),
    [
        (["Ana"], [], True, "Only the PKL names somebody"),
        ([], ["Ana"], True, "Only pgvector names somebody"),
        (["Ana", "Eva"], ["Ana", "Iva"], True, "Same person, other top five"),
        (["Ana"], ["Eva"], True, "Different person"),
        (["Ana"], ["Ana"], False, "Same answer"),
        ([], [], False, "Same answer"),
    ],
)
def test_how_two_answers_differ_is_said_in_words(
    pkl: list[str], pgvector: list[str], differs: bool, expected: str
) -> None:
    sides = {"pkl": [{"name": name} for name in pkl], "pgvector": [{"name": name} for name in pgvector]}
    assert wording.difference(sides | {"differs": differs}) == expected
