"""What a comparison says in its row, before a database is asked."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from app.domain import FaceBox, FaceMatches, Match
from app.services.parity.comparison_rows import row_of
from app.services.parity.records import Cause, ComparisonRecord, FaceComparison, Verdict, most_serious


def matches(*persons: str) -> FaceMatches:
    return tuple(Match(person, f"{person}/1.jpg", i / 100, 90.0) for i, person in enumerate(persons))


def face(pkl: str, pgvector: str) -> FaceComparison:
    """Each letter is a person."""
    return FaceComparison(FaceBox(0, 0, 9, 9), matches(*pkl), matches(*pgvector), set(pkl) != set(pgvector))


def record(*faces: FaceComparison, verdict: Verdict = Verdict.DIFFER) -> ComparisonRecord:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return ComparisonRecord("id", "r1", at, "serbia", "spec", "live", "pkl", faces, 1.0, 2.0, verdict)


@pytest.mark.parametrize(
    ("pkl", "pgvector", "match", "overlap", "size", "flip"),
    [
        ("A", "A", True, 1, 1, None),
        ("", "", True, 0, 0, None),
        ("A", "", False, 0, 1, "lost"),
        ("", "A", False, 0, 1, "gained"),
        ("ABC", "ABD", True, 2, 3, None),
        ("AB", "BA", False, 2, 2, None),
    ],
)
def test_a_face_is_counted(pkl: str, pgvector: str, match: bool, overlap: int, size: int, flip: str | None) -> None:
    row = row_of(record(face(pkl, pgvector)))
    assert (row["top1_match"], row["top5_overlap"], row["top5_size"]) == (match, overlap, size)
    assert row["known_flip"] == flip


def test_a_row_of_several_faces_matches_only_where_all_do_and_shows_the_largest() -> None:
    row = row_of(record(face("A", "A"), face("B", "C"), face("", "D")))
    assert (row["faces"], row["top1_match"], row["top5_overlap"], row["top5_size"]) == (3, False, 1, 3)
    assert (row["pkl_top1"], row["pgvector_top1"], row["known_flip"]) == ("A", "A", "gained")
    assert row["persons"] == ["A", "B", "C", "D"]


def test_where_a_gallery_gave_no_answer_nothing_counts_as_compared() -> None:
    row = row_of(record(face("A", ""), verdict=Verdict.CANDIDATE_FAILED))
    assert [row[name] for name in ("top1_match", "top5_overlap", "top5_size", "known_flip")] == [None] * 4
    assert row["pkl_top1"] == "A"


def test_the_most_serious_cause_comes_first_and_none_is_unexplained() -> None:
    order = list(Cause)
    assert order[0] is Cause.UNEXPLAINED
    for serious, mild in itertools.combinations(order, 2):
        assert most_serious([mild, serious]) is serious
    assert most_serious([]) is Cause.UNEXPLAINED
