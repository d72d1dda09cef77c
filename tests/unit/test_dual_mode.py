"""Dual mode answers with the control, and says in the log what differed, without a person's name."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.domain import FaceBox, Match, RecognizedFace, person_key
from app.errors import StoreUnavailable
from app.services.dual_mode import DualMode, recognize_dual
from app.services.shadow import Shadow

Lines = list[MutableMapping[str, Any]]


@pytest.fixture
def shadow() -> Iterator[Shadow]:
    made = Shadow(limit_s=5, threads=1)
    yield made
    made.close()


def answer(*persons: str) -> list[RecognizedFace]:
    matches = tuple(Match(p, f"{p}/1.jpg", 0.01 * i, 90.0) for i, p in enumerate(persons))
    return [RecognizedFace(FaceBox(0, 0, 9, 9), matches)]


def run(shadow: Shadow, control: Any, candidate: Any) -> tuple[dict[str, Any], Lines]:
    with capture_logs() as lines:
        result = recognize_dual(shadow, control, candidate, "serbia").to_json()
    return result, lines


def test_agreement_is_one_info_line_with_both_times(shadow: Shadow) -> None:
    result, lines = run(shadow, lambda: answer("Ana"), lambda: answer("Ana"))
    assert result["comparison"]["top1_match"] is True
    assert [(line["event"], line["log_level"]) for line in lines] == [("DUAL-MODE comparison", "info")]
    assert lines[0]["domain"] == "serbia"
    assert lines[0]["pkl_top1"] == lines[0]["pgvector_top1"] == person_key("serbia", "Ana")
    assert min(lines[0]["pkl_ms"], lines[0]["pgvector_ms"]) >= 0


def test_each_differing_face_is_a_warning_of_its_own(shadow: Shadow) -> None:
    pkl = answer("Ana") + answer("Bojan") + answer("Ceca", "Dejan")
    pgvector = answer("Ana") + answer() + answer("Ceca")
    result, lines = run(shadow, lambda: pkl, lambda: pgvector)
    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert [line["event"] for line in warnings] == ["DUAL-MODE discrepancy"] * 2
    assert [line["face"] for line in warnings] == [1, 2]
    assert [face["name"] for face in result["recognized_faces"]] == ["Ana", "Bojan", "Ceca"]


def test_no_line_holds_a_persons_name(shadow: Shadow) -> None:
    _, lines = run(shadow, lambda: answer("Ana Primer"), lambda: answer("Bojan Primer"))
    assert "Primer" not in str(lines)


def test_a_failing_candidate_changes_the_comparison_and_the_log_and_nothing_else(shadow: Shadow) -> None:
    def fail() -> list[RecognizedFace]:
        raise StoreUnavailable("The database does not answer.")

    result, lines = run(shadow, lambda: answer("Ana"), fail)
    assert result["recognized_faces"] == [f.to_json() for f in answer("Ana")]
    assert result["pgvector_results"] == []
    assert result["comparison"] == {
        "top1_match": False,
        "pkl_top1": "Ana",
        "pgvector_top1": None,
        "top5_overlap": 0,
        "top5_overlap_pct": 0.0,
        "candidate_error": {"code": "store_unavailable", "message": "The database does not answer."},
    }
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("DUAL-MODE comparison", "info"),
        ("DUAL-MODE pgvector gave no answer", "warning"),
    ]
    assert lines[1]["cause"] == "candidate_error"


def test_an_unknown_face_is_no_match_with_a_candidate_that_failed(shadow: Shadow) -> None:
    result, _ = run(shadow, answer, lambda: 1 / 0)
    assert result["comparison"]["top1_match"] is False


def test_the_limit_of_the_candidate_is_a_cause_of_its_own() -> None:
    import threading

    release = threading.Event()
    shadow = Shadow(limit_s=0.01, threads=1)
    _, lines = run(shadow, lambda: answer("Ana"), lambda: release.wait(30))
    release.set()
    shadow.close()
    assert lines[-1]["cause"] == "candidate_timeout"


def silent() -> list[RecognizedFace]:
    raise StoreUnavailable("It does not answer.")


def test_with_pgvector_in_front_the_comparison_is_still_pkl_against_pgvector(shadow: Shadow) -> None:
    with capture_logs() as lines:
        found = recognize_dual(shadow, lambda: answer("Ana"), lambda: answer("Bojan"), "serbia", "pgvector")
    result = found.to_json()
    assert [face["name"] for face in result["recognized_faces"]] == ["Bojan"]
    assert result["pgvector_results"] == result["recognized_faces"]
    assert (result["comparison"]["pkl_top1"], result["comparison"]["pgvector_top1"]) == ("Ana", "Bojan")
    assert {line["answered_by"] for line in lines} == {"pgvector"}


def test_with_pgvector_in_front_a_silent_pkl_changes_the_comparison_alone(shadow: Shadow) -> None:
    with capture_logs() as lines:
        result = recognize_dual(shadow, silent, lambda: answer("Bojan"), "serbia", "pgvector").to_json()
    assert [face["name"] for face in result["recognized_faces"]] == ["Bojan"]
    assert result["comparison"]["pkl_error"]["code"] == "store_unavailable"
    assert "candidate_error" not in result["comparison"]
    assert lines[-1]["event"] == "DUAL-MODE PKL gave no answer"


def test_with_pgvector_in_front_its_failure_is_the_callers(shadow: Shadow) -> None:
    with pytest.raises(StoreUnavailable):
        recognize_dual(shadow, lambda: answer("Ana"), silent, "serbia", "pgvector")


@pytest.mark.parametrize(("answered_by", "asked", "other"), [("pkl", "Ana", "Bojan"), ("pgvector", "Bojan", "Ana")])
def test_an_unsampled_request_asks_one_gallery_and_keeps_every_field(
    shadow: Shadow, answered_by: Any, asked: str, other: str
) -> None:
    dual = DualMode(shadow, answered_by=answered_by, sample_rate=0.0)
    called = []

    def recognise(person: str) -> list[RecognizedFace]:
        called.append(person)
        return answer(person)

    with capture_logs() as lines:
        result = dual.recognize([], "serbia", lambda: recognise("Ana"), lambda: recognise("Bojan"))
    assert called == [asked]
    assert lines == []
    assert [face["name"] for face in result["recognized_faces"]] == [asked]
    compared = {"top1_match", "pkl_top1", "pgvector_top1", "top5_overlap", "top5_overlap_pct"}
    assert set(result["comparison"]) == compared | {"sampled"}
    assert result["comparison"]["sampled"] is False
    assert result["comparison"][f"{answered_by}_top1"] == asked
    assert other not in str(result)


def test_the_sample_rate_is_the_share_that_is_compared(shadow: Shadow) -> None:
    dual = DualMode(shadow, sample_rate=0.25)
    assert 150 < sum(dual.is_sampled() for _ in range(1000)) < 350
    assert all(DualMode(shadow).is_sampled() for _ in range(100))
