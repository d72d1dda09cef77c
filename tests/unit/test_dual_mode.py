"""Dual mode answers with the control, and says in the log what differed, without a person's name."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.domain import FaceBox, Match, RecognizedFace, person_key
from app.errors import StoreUnavailable
from app.services.dual_mode import recognize_dual
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
        result = recognize_dual(shadow, control, candidate, "serbia")
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
