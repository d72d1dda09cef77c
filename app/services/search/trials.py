"""Tries ways of searching on probes whose right answer is known, and judges them by what they found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceMatches
from app.services.matching import Candidate, MatchPolicy, exact_distances, rank_persons
from app.services.person_search import StoredFace, Target
from app.services.search.exact_answers import Answer
from app.services.search.plan import Measured, SearchPlan, Share
from app.services.search.ways import nearest, settings_of
from app.services.transfer.answer_proof import wilson_interval

if TYPE_CHECKING:
    from app.adapters.postgres import Database

_TIMEOUT_S = 60.0
# Distances measured in float32 here and in float64 there are equal within this; what differs by less is a tie.
TIE = 1e-5


@dataclass(frozen=True, slots=True)
class Targets:
    """What a way must find to be good enough, each a share from 0 to 1.

    :param top1: of the best persons; :param top5: of the five best.
    """

    top1: float = 0.999
    top5: float = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Probes with their right answers, of which none is empty.

    :param probes: (F, D) float64, of length 1; :param names: of the answers' persons, by id.
    """

    domain: str
    spec_id: int
    max_distance: float
    probes: NDArray[np.float64]
    answers: Sequence[Answer]
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Trial:
    """A way that was tried.

    :param complete: it was tried on all probes, not given up after too many misses.
    """

    plan: SearchPlan
    measured: Measured
    complete: bool


def try_plan(database: Database, plan: SearchPlan, questions: Questions, targets: Targets) -> Trial:
    """Search each probe by the plan, until it is clear that it misses too many."""
    times: list[float] = []
    first, found, expected = 0, 0, 0
    for hits, wanted, seconds in _searches(database, plan, questions):
        first += hits[0]
        found += sum(hits)
        expected += wanted
        times.append(seconds * 1000)
        if len(times) - first > len(questions.answers) * (1 - targets.top1):
            break
    top1, top5 = _share(first, len(times)), _share(found, expected)
    complete = len(times) == len(questions.answers)
    met = complete and reached(top1, targets.top1, len(times)) and reached(top5, targets.top5, expected)
    return Trial(plan, Measured(len(times), top1, top5, *_median_and_mean(times), met), complete)


def time_whole(database: Database, plan: SearchPlan, questions: Questions, searches: int) -> Trial:
    """Measuring every face misses nobody; only its time is measured, on some of the probes."""
    some = replace(questions, probes=questions.probes[:searches], answers=questions.answers[:searches])
    times = [seconds * 1000 for _, _, seconds in _searches(database, plan, some)]
    answered = _share(len(questions.answers), len(questions.answers))
    persons = sum(len(answer.persons) for answer in questions.answers)
    found = _share(persons, persons)
    return Trial(plan, Measured(len(questions.answers), answered, found, *_median_and_mean(times), True), True)


def reached(share: Share, target: float, trials: int) -> bool:
    """Whether the share is certain enough: by its interval, or by itself where no sample of this size could be."""
    return share.low >= target or (not can_be_certain(target, trials) and share.share >= target)


def can_be_certain(target: float, trials: int) -> bool:
    """Whether so many trials without a miss would put the whole interval above the target."""
    return wilson_interval(trials, trials)[0] >= target


def _searches(database: Database, plan: SearchPlan, questions: Questions) -> Iterator[tuple[list[bool], int, float]]:
    """For each probe which of the right persons were found, how many there are, and the seconds it took."""
    policy = MatchPolicy(questions.max_distance, confidence_of=lambda distance, verified: 0.0)
    settings = settings_of(plan)
    for probe, answer in zip(questions.probes, questions.answers, strict=True):
        started = time.perf_counter()
        with database.transaction(_TIMEOUT_S, read_only=True, settings=settings) as cursor:
            target = Target(questions.domain, questions.spec_id, probe, questions.max_distance)
            faces = nearest(cursor, target, plan)
        seconds = time.perf_counter() - started
        yield hits(answer, _ranked(probe, faces, policy), questions.names), len(answer.persons), seconds


def _ranked(probe: NDArray[np.float64], faces: Sequence[StoredFace], policy: MatchPolicy) -> FaceMatches:
    if not faces:
        return ()
    distances = exact_distances(np.stack([face.embedding for face in faces]), probe).tolist()
    pairs = zip(faces, distances, strict=True)
    return rank_persons([Candidate(face.person, face.image, distance) for face, distance in pairs], policy)


def hits(answer: Answer, found: FaceMatches, names: Mapping[int, str]) -> list[bool]:
    """For each of the right persons whether they were found; somebody at the same distance is as right."""
    persons = {match.person for match in found}
    last = found[-1].distance if len(found) >= len(answer.persons) else -1.0
    best = [bool(found) and found[0].distance <= answer.distances[0] + TIE]
    others = zip(answer.persons[1:], answer.distances[1:], strict=True)
    return best + [names.get(person) in persons or abs(last - distance) <= TIE for person, distance in others]


def _median_and_mean(times: Sequence[float]) -> tuple[float, float]:
    return (float(np.median(times)), float(np.mean(times))) if times else (0.0, 0.0)


def _share(successes: int, trials: int) -> Share:
    return Share(successes / trials if trials else 0.0, *wilson_interval(successes, trials))
