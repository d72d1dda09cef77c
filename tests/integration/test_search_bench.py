"""Every way of the search benchmark finds what measuring every row finds, where it has to."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest

from bench.peer_deepface import DeepFaceFind, variants
from bench.peers import Way
from bench.search import WAYS
from bench.search_measure import Case, Measuring, measure
from bench.vectors import Shape, galleries

THRESHOLD = 0.68


@pytest.fixture(scope="module")
def case() -> Case:
    return Case.of(galleries(Shape(rows=400, persons=40, probes=20))[0], THRESHOLD)


FINDS = [partial(DeepFaceFind, variant) for variant in variants()]


@pytest.mark.parametrize("make", [*WAYS.values(), *FINDS])
def test_a_way_loses_nobody_in_a_gallery_of_four_hundred_faces(case: Case, make: Callable[[float], Way]) -> None:
    for peer in ("hnswlib", "faiss"):
        pytest.importorskip(peer)
    way = make(THRESHOLD)
    try:
        figures = measure(way, [case], Measuring(target=1.0, warm_up=1))
    finally:
        way.close()

    assert figures["top_person_recall"] == figures["recall_at_5"] == 1.0
    assert figures["wrongly_named"] == 0
    assert figures["index_mib"] >= 0
    json.dumps(figures)
