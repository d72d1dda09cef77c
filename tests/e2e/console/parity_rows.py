"""Eight days of made-up comparisons for pictures of the console: the demo persons, faults that were put right since."""

from __future__ import annotations

import math
import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain import FaceBox, FaceMatches, Match
from app.services.parity.parity_store import Explanation, ParityStore
from app.services.parity.records import Cause, ComparisonQuery, ComparisonRecord, FaceComparison, Verdict

HOURS = 8 * 24
PERSONS = 20
THRESHOLD = 0.07
BATCH = 500
JUDGED = 30


def write_days(store: ParityStore, domain: str, spec_key: str) -> None:
    """Some thousands of comparisons, more by day than by night, and the cause of each difference."""
    dice = random.Random(7)  # noqa: S311 (made-up rows, no secret)
    hours = (hour for hour in range(HOURS) for _ in range(_busy(dice, hour)))
    made = (_record(dice, domain, hour) for hour in hours)
    records = [(replace(record, spec_key=spec_key), found) for record, found in made]
    records.sort(key=lambda each: each[0].at)
    for start in range(0, len(records), BATCH):
        store.write([record for record, _ in records[start : start + BATCH]])
    for record, found in records:
        if found is not None:
            store.explain(record, found)
    for row in store.comparisons(ComparisonQuery((domain,), limit=2 * JUDGED))[::2]:
        judged = {Cause.GALLERY_DRIFT: "pkl", Cause.ANN_MISS: "pkl", Cause.TIE: "both"}.get(Cause(row.cause or ""))
        store.judge(row.id, domain, judged or "neither", "operator")


def _busy(dice: random.Random, hour: int) -> int:
    return round(dice.uniform(0.8, 1.2) * (45 - 30 * math.cos(math.tau * hour / 24)))


def _record(dice: random.Random, domain: str, hour: int) -> tuple[ComparisonRecord, Explanation | None]:
    pkl = _matches(dice)
    cause = _cause(dice, hour)
    face, found = _different(pkl, cause) if cause else (_face(pkl, pkl), None)
    record = ComparisonRecord(
        record_id=str(uuid.UUID(int=dice.getrandbits(128))),
        request_id=f"{dice.getrandbits(64):016x}",
        at=datetime.now(UTC) - timedelta(hours=HOURS - hour, minutes=dice.randint(0, 59), seconds=dice.randint(0, 59)),
        domain=domain,
        spec_key="0" * 16,
        source="live",
        answered_by="pkl",
        faces=(face,),
        pkl_ms=dice.lognormvariate(1.6, 0.4),
        pgvector_ms=dice.lognormvariate(0.9, 0.35),
        verdict=Verdict.DIFFER if cause else Verdict.AGREE,
    )
    return record, found


def _cause(dice: random.Random, hour: int) -> Cause | None:
    """More drift in the first days, until somebody reconciled the galleries."""
    share = 0.05 if hour < 3 * 24 else 0.01
    if dice.random() > share:
        return None
    often = {Cause.GALLERY_DRIFT: 6 if hour < 3 * 24 else 1, Cause.ANN_MISS: 3, Cause.THRESHOLD_EDGE: 2, Cause.TIE: 1}
    return dice.choices(list(often), weights=list(often.values()))[0]


def _matches(dice: random.Random) -> FaceMatches:
    distance, found = dice.uniform(0.02, 0.04), []
    for number in dice.sample(range(1, PERSONS + 1), 3):
        name = f"Person {number:03}"
        found.append(Match(name, f"{name}/{dice.randint(1, 3)}.png", round(distance, 6), 99.0))
        distance += dice.uniform(0.004, 0.012)
    return tuple(found)


def _different(pkl: FaceMatches, cause: Cause) -> tuple[FaceComparison, Explanation]:
    pkl, pgvector = _answers(pkl, cause)
    exact = pkl if cause is Cause.ANN_MISS else pgvector
    held = None if cause is Cause.GALLERY_DRIFT else pkl[0].distance
    involved = pkl[:2] if cause is Cause.TIE else pkl[:1]
    proof: dict[str, Any] = {
        "face": 0,
        "cause": cause,
        "exact": [{"name": match.person, "image": match.image, "distance": match.distance} for match in exact],
        "thresholds": {"pkl": THRESHOLD, "pgvector": THRESHOLD},
        "persons": [_seen(match, held, cause) for match in involved]
        + [_seen(match, match.distance, None) for match in pkl[len(involved) :]],
    }
    if cause is Cause.GALLERY_DRIFT:
        proof["sample"] = {"images_with_other_vectors": 0, "images_in_both": 32}
    return _face(pkl, pgvector), Explanation(cause, {"faces": [proof]}, [match.person for match in pkl])


def _answers(pkl: FaceMatches, cause: Cause) -> tuple[FaceMatches, FaceMatches]:
    first, second, *others = pkl
    if cause is Cause.TIE:
        second = replace(second, distance=first.distance)
        return (first, second, *others), (second, first, *others)
    if cause is Cause.THRESHOLD_EDGE:
        return (replace(first, distance=THRESHOLD),), ()
    return pkl, pkl[1:]


def _seen(match: Match, held: float | None, cause: Cause | None) -> dict[str, Any]:
    return {
        "name": match.person,
        "image": match.image,
        "pkl_distance": match.distance,
        "pgvector_distance": held,
        "images_only_in_pkl": 0 if held else 3,
        "images_only_in_pgvector": 0,
        "images_with_other_vectors": 0,
        "cause": cause,
    }


def _face(pkl: FaceMatches, pgvector: FaceMatches) -> FaceComparison:
    return FaceComparison(FaceBox(412, 160, 236, 236), pkl, pgvector, differs=pkl != pgvector)
