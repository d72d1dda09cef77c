"""Measures one way of searching: time, recall, size, building, and how it stands several callers at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.peers import Way
from bench.process_memory import own_memory_mib
from bench.reporting import percentiles
from bench.search_recall import Answer, exact_answers, recall_figures
from bench.vectors import ProbedGallery

Figures = dict[str, Any]

_WARM_UP = 20
_ROUNDS = 5  # the spread of their medians shows what else the machine did


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A gallery with the exact answers to its probes."""

    gallery: ProbedGallery
    expected: Sequence[Answer]

    @classmethod
    def of(cls, gallery: ProbedGallery, threshold: float) -> Case:
        return cls(gallery, exact_answers(gallery, threshold))


@dataclass(frozen=True, slots=True)
class Measuring:
    """How a way is measured.

    :param target: the recall of the top person that a way with efforts is given, by the least effort that reaches it.
    :param target_five: the recall of the five best that it is measured at as well.
    :param clients: numbers of callers at once; each is measured.
    :param warm_up: searches before the first one that counts.
    """

    target: float
    target_five: float = 0.0
    clients: Sequence[int] = ()
    warm_up: int = _WARM_UP


def measure(way: Way, cases: Sequence[Case], measuring: Measuring) -> Figures:
    """All figures of a way: of the first case, and of the last as `small_domain` where there are several."""
    before, began = own_memory_mib(), time.perf_counter()
    way.build([case.gallery for case in cases])
    figures: Figures = {"build_s": round(time.perf_counter() - began, 1)}
    figures["own_memory_mib"] = round(max(0.0, own_memory_mib() - before), 1)
    figures |= _tuned(way, cases[0], measuring)
    if len(cases) > 1:
        figures["small_domain"] = _searched(way, cases[-1], measuring.warm_up)
    if measuring.clients:
        figures["searches_per_s"] = {str(n): round(_throughput(way, cases[0], n), 1) for n in measuring.clients}
    return figures | {"index_mib": round(way.index_mib(), 1)} | way.facts()


def _tuned(way: Way, case: Case, measuring: Measuring) -> Figures:
    """The figures at the least effort that reaches the target, or at the greatest; `curve` holds all that were tried.

    `five_best_too` are those at the least effort that also reaches the target of the five best.
    """
    if not way.efforts:
        return _searched(way, case, measuring.warm_up)
    curve: list[Figures] = []
    for effort in way.efforts:
        way.set_effort(effort)
        curve.append({"effort": effort} | _searched(way, case, measuring.warm_up))
        if _reaches(curve[-1], measuring) and _reaches_five(curve[-1], measuring):
            break
    chosen = next((point for point in curve if _reaches(point, measuring)), curve[-1])
    way.set_effort(chosen["effort"])
    complete = curve[-1] if _reaches(curve[-1], measuring) and _reaches_five(curve[-1], measuring) else None
    points = ("effort", "p50_ms", "top_person_recall", "recall_at_5")
    told = [{name: point[name] for name in points} for point in curve]
    return chosen | {"curve": told, "five_best_too": complete}


def _reaches(figures: Figures, measuring: Measuring) -> bool:
    return (figures["top_person_recall"] or 0.0) >= measuring.target


def _reaches_five(figures: Figures, measuring: Measuring) -> bool:
    return (figures["recall_at_5"] or 0.0) >= measuring.target_five


def _searched(way: Way, case: Case, warm_up: int) -> Figures:
    """Each probe by itself, one after the other."""
    domain, probes = case.gallery.domain, case.gallery.probes
    for probe in probes[:warm_up]:
        way.search(domain, probe)
    times, found = [], []
    for probe in probes:
        began = time.perf_counter()
        found.append(way.search(domain, probe))
        times.append((time.perf_counter() - began) * 1000)
    medians = [float(np.median(part)) for part in np.array_split(times, min(_ROUNDS, len(times)))]
    spread = [round(min(medians), 3), round(max(medians), 3)]
    return percentiles(times) | {"p50_spread_ms": spread} | recall_figures(case.expected, found)


def _throughput(way: Way, case: Case, clients: int) -> float:
    """Searches per second of so many threads that ask without a pause."""
    domain, probes = case.gallery.domain, case.gallery.probes
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda probe: way.search(domain, probe), probes[: 2 * clients]))  # connections are made here
        began = time.perf_counter()
        list(pool.map(lambda probe: way.search(domain, probe), probes))
        return len(probes) / (time.perf_counter() - began)
