"""compare_results: exactly the contract's fields, for any pair of answers."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.services.comparison import compare_results, differing_faces

CONTRACT_FIELDS = {"top1_match", "pkl_top1", "pgvector_top1", "top5_overlap", "top5_overlap_pct"}


def answer(*names: str, distance: float = 0.1) -> dict[str, Any]:
    """One element of `recognized_faces` whose matches are `names`, best first."""
    matches = [{"name": n, "distance": distance, "similarity": 1 - distance} for n in names]
    return {"box": {}, "name": names[0] if names else None, "matches": matches}


def test_equal_answers_match_in_every_field() -> None:
    people = ["Ana", "Bojan", "Ceca", "Dejan", "Eva"]
    assert compare_results([answer(*people)], [answer(*people)]) == {
        "top1_match": True,
        "pkl_top1": "Ana",
        "pgvector_top1": "Ana",
        "top5_overlap": 5,
        "top5_overlap_pct": 100.0,
    }


def test_the_example_of_the_contract_four_of_five_is_eighty_percent() -> None:
    result = compare_results([answer("A", "B", "C", "D", "E")], [answer("A", "B", "C", "D", "X")])
    assert (result["top1_match"], result["top5_overlap"], result["top5_overlap_pct"]) == (True, 4, 80.0)


def test_the_percentage_is_relative_to_the_longer_list_where_there_are_fewer_than_five() -> None:
    assert compare_results([answer("A", "B")], [answer("A", "B")])["top5_overlap_pct"] == 100.0
    assert compare_results([answer("A", "B", "C")], [answer("A")])["top5_overlap_pct"] == 33.3
    assert compare_results([answer("A")], [answer("A", "B", "C", "D")])["top5_overlap_pct"] == 25.0


def test_nobody_on_both_sides_is_a_match() -> None:
    result = compare_results([answer()], [answer()])
    assert result == {
        "top1_match": True,
        "pkl_top1": None,
        "pgvector_top1": None,
        "top5_overlap": 0,
        "top5_overlap_pct": 100.0,
    }


def test_known_on_one_side_only_is_a_mismatch_in_both_directions() -> None:
    for pkl, pgvector in ((answer("A"), answer()), (answer(), answer("A"))):
        result = compare_results([pkl], [pgvector])
        assert (result["top1_match"], result["top5_overlap_pct"]) == (False, 0.0)


def test_a_side_without_any_answer_never_matches_not_even_with_an_unknown() -> None:
    assert compare_results([answer()], [])["top1_match"] is False
    assert compare_results([], [answer("A")])["top1_match"] is False


def test_two_answers_without_faces_have_the_contracts_fields() -> None:
    assert set(compare_results([], [])) == CONTRACT_FIELDS


def test_persons_beyond_the_fifth_and_repeated_persons_do_not_count() -> None:
    pkl = answer("A", "B", "C", "D", "E", "F")
    pgvector = answer("A", "A", "B", "C", "D", "F")
    assert compare_results([pkl], [pgvector])["top5_overlap"] == 4


def test_a_tie_in_another_order_changes_the_top_person_but_not_the_overlap() -> None:
    result = compare_results([answer("A", "B", distance=0.2)], [answer("B", "A", distance=0.2)])
    assert (result["top1_match"], result["top5_overlap_pct"]) == (False, 100.0)


def test_several_faces_are_compared_one_by_one_and_the_largest_stands_at_the_top() -> None:
    result = compare_results([answer("A"), answer("B")], [answer("A"), answer()])
    assert result["pkl_top1"] == "A"
    assert result["top1_match"] is True
    assert [f["top1_match"] for f in result["faces"]] == [True, False]
    assert all(set(f) == CONTRACT_FIELDS for f in result["faces"])
    assert [i for i, _ in differing_faces(result)] == [1]


def test_a_single_face_has_exactly_the_contracts_fields() -> None:
    assert set(compare_results([answer("A")], [answer("B")])) == CONTRACT_FIELDS


faces = st.lists(st.lists(st.sampled_from("ABCDEFG"), max_size=7).map(lambda names: answer(*names)), max_size=4)


@given(faces, faces)
def test_whatever_the_answers_the_comparison_is_total_and_within_bounds(pkl: list[Any], pgvector: list[Any]) -> None:
    result = compare_results(pkl, pgvector)
    assert set(result) >= CONTRACT_FIELDS
    for face in result.get("faces", [result]):
        assert 0 <= face["top5_overlap"] <= 5
        assert 0.0 <= face["top5_overlap_pct"] <= 100.0
    assert compare_results(pgvector, pkl)["top5_overlap"] == result["top5_overlap"]
