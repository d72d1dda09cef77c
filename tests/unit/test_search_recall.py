"""The search benchmark tells the truth: made-up galleries are as they were asked for, and what is lost is reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain import TOP_PERSONS
from bench.search_measure import Case, Measuring, measure
from bench.search_recall import Answer, answer_of, exact_answers, recall_figures
from bench.search_report import compared
from bench.vectors import ProbedGallery, Shape, galleries

THRESHOLD = 0.68
SMALL = Shape(rows=2000, persons=100, dimensions=512, probes=200)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case.of(galleries(SMALL)[0], THRESHOLD)


class ForgetfulSearch:
    """Answers exactly, except that it loses every n-th probe's first person; more effort loses fewer."""

    name = "forgetful"
    efforts: Sequence[int] = (4, 10, 1000)

    def __init__(self, case: Case) -> None:
        probes = (probe.tobytes() for probe in case.gallery.probes)
        self._answers = dict(zip(probes, case.expected, strict=True))
        self._place = {probe: place for place, probe in enumerate(self._answers)}
        self._every = 1

    def build(self, _galleries: object) -> None: ...

    def index_mib(self) -> float:
        return 1.0

    def set_effort(self, effort: int) -> None:
        self._every = effort

    def search(self, _domain: str, probe: NDArray[np.float64]) -> Answer:
        answer = self._answers[probe.tobytes()]
        is_lost = self._place[probe.tobytes()] % self._every == 0
        return Answer(answer.persons[1:]) if is_lost else answer

    def facts(self) -> dict[str, object]:
        return {}

    def close(self) -> None: ...


def test_a_way_that_loses_a_quarter_of_the_persons_is_reported_with_three_quarters() -> None:
    expected = [Answer((place, place + 1)) for place in range(100)]
    found = [Answer(answer.persons[1:]) if place % 4 == 0 else answer for place, answer in enumerate(expected)]

    figures = recall_figures(expected, found)

    assert figures["top_person_recall"] == 0.75
    assert figures["recall_at_5"] == 1 - 25 / 200
    low, high = figures["top_person_recall_95"]
    assert low == pytest.approx(0.657, abs=0.001)  # Wilson's interval of 75 of 100
    assert high == pytest.approx(0.825, abs=0.001)


def test_a_second_person_who_moves_up_is_found_among_five_but_not_first() -> None:
    figures = recall_figures([Answer((1, 2))], [Answer((2, 1))])
    assert (figures["top_person_recall"], figures["recall_at_5"]) == (0.0, 1.0)


def test_probes_that_the_exact_search_names_nobody_for_count_only_where_somebody_is_named() -> None:
    figures = recall_figures([Answer((1,)), Answer(()), Answer(())], [Answer((1,)), Answer(()), Answer((7,))])
    assert (figures["top_person_recall"], figures["wrongly_named"], figures["probes"]) == (1.0, 1, 3)


def test_rows_are_counted_where_a_way_tells_them() -> None:
    expected = [Answer((1,), (10, 11, 12, 13, 14))]
    assert recall_figures(expected, [Answer((1,), (10, 11, 12, 99))])["row_recall_at_5"] == 0.6
    assert "row_recall_at_5" not in recall_figures(expected, [Answer((1,))])


def test_five_distinct_persons_are_taken_from_the_nearest_rows() -> None:
    person_of = np.repeat(np.arange(10), 3)
    answer = answer_of(np.arange(30), person_of)
    assert answer == Answer((0, 1, 2, 3, 4), (0, 1, 2, 3, 4))


def test_the_exact_answer_names_each_probes_person_and_no_stranger(case: Case) -> None:
    gallery = case.gallery
    centres = np.stack([gallery.embeddings[gallery.person_of == person].mean(axis=0) for person in range(100)])
    similarities = gallery.probes @ centres.T
    known = similarities.max(axis=1) > 0.4  # of strangers, hardly 0.1
    assert known.sum() == SMALL.probes
    for answer, is_known, of_persons in zip(case.expected, known, similarities, strict=True):
        assert answer.persons[:1] == ((int(of_persons.argmax()),) if is_known else ())


def test_relatives_give_the_five_best_a_meaning(case: Case) -> None:
    several = [answer for answer in case.expected if len(answer.persons) > 1]
    alone = exact_answers(galleries(replace(SMALL, related=0.0))[0], THRESHOLD)
    assert len(several) > 10
    assert all(len(answer.persons) <= TOP_PERSONS for answer in several)
    assert all(len(answer.persons) <= 1 for answer in alone)


def test_images_of_one_person_have_the_wanted_cosine(case: Case) -> None:
    gallery = case.gallery
    rows = gallery.embeddings[gallery.person_of == 99].astype(np.float64)
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), k=1)]
    assert np.mean(cosines) == pytest.approx(SMALL.same_person, abs=0.03)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)


def test_domains_share_rows_and_persons_in_their_ratio() -> None:
    large, small = galleries(replace(SMALL, shares=(99, 1), probes=10))
    assert (len(large.embeddings), len(small.embeddings)) == (1980, 20)
    assert (len(np.unique(large.person_of)), len(np.unique(small.person_of))) == (99, 1)
    assert not np.array_equal(large.embeddings[:20], small.embeddings)


def test_a_graph_is_measured_at_the_least_effort_that_reaches_the_target(case: Case) -> None:
    figures = measure(ForgetfulSearch(case), [case], Measuring(target=0.85, clients=(2,)))

    assert [point["effort"] for point in figures["curve"]] == [4, 10]
    assert figures["curve"][0]["top_person_recall"] == pytest.approx(0.75, abs=0.05)
    assert figures["top_person_recall"] == figures["curve"][1]["top_person_recall"]
    assert figures["searches_per_s"]["2"] > 0


def test_a_graph_is_measured_again_where_it_finds_the_five_best_as_well(case: Case) -> None:
    figures = measure(ForgetfulSearch(case), [case], Measuring(target=0.7, target_five=0.99))

    assert figures["effort"] == 4
    assert figures["five_best_too"]["effort"] == 1000
    assert figures["five_best_too"]["recall_at_5"] >= 0.99 > figures["recall_at_5"]


def test_a_small_domain_is_told_apart(case: Case) -> None:
    small = Case.of(
        ProbedGallery("small", case.gallery.embeddings[:50], case.gallery.person_of[:50], case.gallery.probes),
        THRESHOLD,
    )
    figures = measure(ForgetfulSearch(case), [case, small], Measuring(target=0.0))
    assert figures["small_domain"]["wrongly_named"] > figures["wrongly_named"] == 0


def test_ratios_are_of_one_run_and_the_speedup_is_the_least_of_all_shapes() -> None:
    def ways(ours: float, finds: float) -> dict[str, dict[str, object]]:
        variants = {"npz, dict": {"search_p50_ms": finds / 2}}
        return {"pgvector": {"p50_ms": ours}, "deepface_find": {"p50_ms": finds, "variants": variants}}

    figures = compared({"30x2": ways(2.0, 900.0), "30x10": ways(2.0, 800.0), "1000x50": ways(6.0, 30000.0)})

    assert figures["speedup_vs_deepface_find"] == 400.0
    assert figures["speedup_vs_deepface_find_search_only"] == 200.0
    assert figures["pgvector"]["p50_ms"] == 2.0
    assert figures["growth"] == {"1000x50": {"pgvector": 3.0, "deepface_find": 37.5}}
    assert figures["shapes"]["30x2"]["speedup_vs_deepface_find"] == 450.0
