"""The benchmark of profile search compares two designs that find the same, over stores as far away as it says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench.profile_designs import TOP
from bench.profile_measure import Measuring, Scenario
from bench.profile_places import Place, embedded, servers
from bench.profile_vectors import IndexShape, world

IDENTITIES = 3
HELD_BACK_MS = 5.0

Open = Callable[[Path], AbstractContextManager[Place]]


@pytest.mark.parametrize(
    ("open_place", "server", "calls"), [(embedded, "postgres", 2 * IDENTITIES), (servers, "photos", TOP * IDENTITIES)]
)
def test_both_designs_find_each_persons_five_profiles_and_wait_for_the_network_they_are_told_of(
    make_folder: Callable[[], Path], open_place: Open, server: str, calls: int
) -> None:
    made = world(IndexShape(profiles=500, probes=20))
    measuring = Measuring(made, IDENTITIES)
    with open_place(make_folder() / "storage") as place:
        place.fill(made, measuring.photos)
        assert measuring.served(place)["recall_at_5"] == 1.0
        figures = measuring.compared(place, Scenario("far", {server: HELD_BACK_MS}, rounds=1))
    assert figures["same_matches"]
    assert (figures["matches"], figures["photos"]) == (TOP * IDENTITIES, TOP * IDENTITIES)
    assert figures["reference"]["with_photos_ms"] >= calls * HELD_BACK_MS
