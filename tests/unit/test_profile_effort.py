"""How hard the embedded index of profiles searches follows from how many faces it holds."""

from itertools import pairwise

import pytest

from app.services.profiles.postgres_profiles import EVERY_FACE, EXACT_MAX_ROWS, effort_for


@pytest.mark.parametrize("indexed_rows", [None, 0, EXACT_MAX_ROWS])
def test_few_faces_and_faces_without_an_index_are_measured_one_by_one(indexed_rows: int | None) -> None:
    assert effort_for(indexed_rows) == EVERY_FACE


def test_more_faces_are_never_searched_with_less_effort_nor_with_more_than_pgvector_takes() -> None:
    efforts = [effort_for(rows) for rows in (EXACT_MAX_ROWS + 1, 100_000, 300_000, 1_000_000, 10_000_000)]
    assert all(fewer <= more for fewer, more in pairwise(efforts))
    assert 1 <= efforts[0] < efforts[-1] <= 1000
