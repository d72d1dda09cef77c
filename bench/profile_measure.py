"""What is measured of profile search: two designs in turn over the same stores, and what an index finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.services.profiles.records import ProfileHit
from bench.profile_designs import MIN_SIMILARITY, TOP, Design, Ours, Reference, Searched
from bench.profile_places import Place
from bench.profile_vectors import ProfileWorld, entity_id, nearest, recall

Search = Callable[[NDArray[np.float32]], list[list[ProfileHit]]]
Figures = dict[str, Any]

_TIMED = 15  # searches of each kind
_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """How far away the stores are.

    :param delays_ms: of a round trip, by the place's proxies; none where they answer as they are.
    :param rounds: of which the median counts.
    """

    name: str
    delays_ms: Mapping[str, float]
    rounds: int = 5


class Measuring:
    """The probes, and what measuring every face finds for them."""

    def __init__(self, world: ProfileWorld, identities: int) -> None:
        best = nearest(world.features, world.probes, TOP)
        self.identities = world.probes[:identities]
        self.photos = {row for rows in best[:identities] for row in rows}
        self._probes = world.probes
        self._exact = [[entity_id(row) for row in rows] for rows in best]
        self._similar = [
            [entity_id(row) for row in rows if float(world.features[row] @ probe) >= MIN_SIMILARITY]
            for probe, rows in zip(world.probes, best, strict=True)
        ]

    def found(self, search: Search) -> Figures:
        """Recall of the five nearest, and of those among them that are matches; times of one probe and of all."""
        batches = np.array_split(self._probes, max(1, len(self._probes) // 10))
        found = [[hit.entity_id for hit in hits] for batch in batches for hits in search(batch)]
        return {
            "recall_at_5": round(recall(self._exact, found), 4),
            "recall_of_matches": round(recall(self._similar, found), 4),
            "one_ms": round(_median_ms(search, [self._probes[n : n + 1] for n in range(_TIMED)]), 1),
            f"{len(self.identities)}_ms": round(_median_ms(search, [self.identities] * _TIMED), 1),
        }

    def efforts(self, place: Place) -> dict[int, Figures]:
        """What is found with more or less effort: `ef_search`."""
        writer = place.index.writers.vectors
        return {effort: self.found(partial(writer.nearest_with, effort, top_k=TOP)) for effort in writer.efforts()}

    def served(self, place: Place) -> Figures:
        """What a search finds as it is set."""
        return self.found(lambda probes: place.index.stores.vectors.nearest(probes, TOP, _LIMIT_S))

    def compared(self, place: Place, scenario: Scenario) -> Figures:
        """Both designs, in turn, after a round of each that does not count and for which the stores are near."""
        designs: dict[str, Design] = {
            "reference": Reference(place.index.stores),
            "ours": Ours(place.index.stores, place.spec),
        }
        warm = {name: design.search(self.identities) for name, design in designs.items()}
        place.network.set_delays(scenario.delays_ms)
        try:
            rounds = [
                {name: design.search(self.identities) for name, design in designs.items()}
                for _ in range(scenario.rounds)
            ]
        finally:
            place.network.set_delays({})
        figures: Figures = {name: _figures([each[name] for each in rounds]) for name in designs}
        return {
            **figures,
            "delays_ms": dict(scenario.delays_ms),
            "times_faster": round(_ratio(figures, "without_photos_ms"), 1),
            "times_faster_with_photos": round(_ratio(figures, "with_photos_ms"), 1),
            "same_matches": warm["reference"].entities == warm["ours"].entities,
            "matches": sum(len(entities) for entities in warm["ours"].entities),
            "photos": warm["ours"].photos,
        }


def _figures(rounds: Sequence[Searched]) -> Figures:
    by_store = {store: round(median(each.ms[store] for each in rounds), 1) for store in rounds[0].ms}
    return {
        "without_photos_ms": round(median(each.without_photos_ms for each in rounds), 1),
        "with_photos_ms": round(median(each.with_photos_ms for each in rounds), 1),
        "stores_ms": by_store,
    }


def _ratio(figures: Figures, name: str) -> float:
    return float(figures["reference"][name] / figures["ours"][name])


def _median_ms(search: Search, batches: Sequence[NDArray[np.float32]]) -> float:
    times = []
    for batch in batches:
        began = time.perf_counter()
        search(batch)
        times.append((time.perf_counter() - began) * 1000)
    return median(times)
