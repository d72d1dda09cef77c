"""How much of the exact answer a search finds, counted per probe, with intervals.

`top_person_recall`: of the probes for which the exact search names somebody, the share for which the way names the same
person first. `recall_at_5`: of all persons whom the exact search names, at most five for a probe and each within the
threshold, the share whom the way names among its five. `row_recall_at_5`: the same of the five nearest rows within
the threshold, for ways that return rows. The exact search measures every row in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain import TOP_PERSONS
from app.services.matching import exact_distances
from app.services.transfer.answer_proof import wilson_interval
from bench.vectors import ProbedGallery

_SLACK = 1e-4  # of a float32 cosine of 512 numbers, many times over: what is dropped unmeasured is out of the question
_PROBES_AT_A_TIME = 8  # bounds the similarities held: 32 MB at a million rows


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search names for one probe, best first.

    :param persons: at most TOP_PERSONS distinct ones within the threshold.
    :param rows: at most TOP_PERSONS rows; None where a way does not tell.
    """

    persons: tuple[int, ...]
    rows: tuple[int, ...] | None = None


def answer_of(rows: NDArray[np.int64], person_of: NDArray[np.int64]) -> Answer:
    """The answer that these rows give.

    :param rows: within the threshold, nearest first.
    """
    persons = dict.fromkeys(person_of[rows].tolist())
    return Answer(tuple(persons)[:TOP_PERSONS], tuple(rows[:TOP_PERSONS].tolist()))


def exact_answers(gallery: ProbedGallery, threshold: float) -> list[Answer]:
    """What measuring every row gives, for each probe.

    :param threshold: largest cosine distance that counts.
    """
    found = []
    for start in range(0, len(gallery.probes), _PROBES_AT_A_TIME):
        probes = gallery.probes[start : start + _PROBES_AT_A_TIME]
        directions = probes / np.linalg.norm(probes, axis=1, keepdims=True)
        similarities = directions.astype(np.float32) @ gallery.embeddings.T
        for probe, of_rows in zip(probes, similarities, strict=True):
            found.append(_exact_answer(gallery, probe, np.flatnonzero(of_rows >= 1 - threshold - _SLACK), threshold))
    return found


def _exact_answer(
    gallery: ProbedGallery, probe: NDArray[np.float64], rows: NDArray[np.int64], threshold: float
) -> Answer:
    distances = exact_distances(gallery.embeddings[rows], probe) if len(rows) else np.empty(0)
    order = np.argsort(distances, kind="stable")
    return answer_of(rows[order][distances[order] <= threshold], gallery.person_of)


def recall_figures(expected: Sequence[Answer], found: Sequence[Answer]) -> dict[str, Any]:
    """The recalls of the module's first lines, each with its 95 % interval as `<name>_95`.

    `wrongly_named` counts the probes for which the way names somebody first and the exact search names nobody.

    :param found: of the same probes, in their order.
    """
    pairs = list(zip(expected, found, strict=True))
    named = [(wanted.persons, got.persons) for wanted, got in pairs if wanted.persons]
    figures = _share("top_person_recall", sum(w[0] == g[0] for w, g in named if g), len(named))
    figures |= _share("recall_at_5", *_overlap(named))
    rows = [(wanted.rows, got.rows) for wanted, got in pairs if wanted.rows and got.rows is not None]
    if rows:
        figures |= _share("row_recall_at_5", *_overlap(rows))
    wrong = sum(bool(got.persons) and not wanted.persons for wanted, got in pairs)
    return figures | {"probes": len(pairs), "wrongly_named": wrong}


def _overlap(pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> tuple[int, int]:
    return sum(len(set(wanted) & set(got)) for wanted, got in pairs), sum(len(wanted) for wanted, _ in pairs)


def _share(name: str, found: int, expected: int) -> dict[str, Any]:
    low, high = wilson_interval(found, expected)
    return {
        name: round(found / expected, 5) if expected else None,
        f"{name}_95": [round(low, 5), round(high, 5)],
    }
