"""The evidence in words: what each cause means, what was seen of whom, and each gate's figures with their units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.services.parity.html_report import GATE_TITLES
from app.services.parity.records import Cause, StoredComparison, Verdict

Document = Mapping[str, Any]

MEANINGS: Mapping[str, str] = {
    Cause.UNEXPLAINED: "Both galleries hold the same and still answer differently. This is a bug: please report it.",
    Cause.CANDIDATE_ERROR: "The gallery that shadows failed, so there was nothing to compare.",
    Cause.CANDIDATE_TIMEOUT: "The gallery that shadows did not answer within its time limit.",
    Cause.SPEC_MISMATCH: "The galleries were embedded with different models or settings: embed one of them again.",
    Cause.GALLERY_DRIFT: "The galleries do not hold the same photos, or held something else when they answered: "
    "reconcile them.",
    Cause.ANN_MISS: "Both galleries hold the person, and pgvector's index passed over them.",
    Cause.THRESHOLD_EDGE: "A face lies so close to the threshold that rounding decides on which side of it.",
    Cause.TIE: "Two persons are equally far away, and the galleries put them in a different order.",
    "pending": "Nobody has looked for the cause yet. It is looked for in the background; if that queue is full, "
    "or the service was restarted meanwhile, a person has to judge.",
}

NOTHING = "-"  # where nothing was measured

_WRITTEN: Mapping[str, str] = {  # how a gate's figures are written
    "comparisons": "{:,.0f}",
    "hours": "{:,.1f} h",
    "match_rate": "{:.2%}",
    "unexplained": "{:,.0f}",
    "examined": "{:,.0f}",
    "candidate_errors": "{:.3%}",
    "latency": "{:,.1f} ms",
}
_RELATIONS: Mapping[str, str] = {  # how the value has to stand to what is wanted
    "comparisons": "at least",
    "hours": "at least",
    "match_rate": "over",
    "unexplained": "at most",
    "examined": "at most",
    "candidate_errors": "under",
    "latency": "under",
}


@dataclass(frozen=True, slots=True)
class GateInWords:
    """A gate as a line of a checklist.

    :param state: `passed`, `failed` or `undecided`.
    :param value, wanted: with their units; `NOTHING` where nothing was measured.
    """

    name: str
    title: str
    state: str
    value: str
    wanted: str
    message: str


@dataclass(frozen=True, slots=True)
class PersonSeen:
    """What was seen of one person when the cause was looked for.

    :param sentence: None where the person has no part in the difference.
    """

    name: str
    image: str | None
    pkl_distance: float | None
    pgvector_distance: float | None
    cause: str | None
    sentence: str | None


@dataclass(frozen=True, slots=True)
class FaceSeen:
    """What was seen when the cause of a face's difference was looked for.

    :param face: its place in the comparison, 0 for the largest.
    :param exact: how many persons an exact search of the database finds.
    :param sample: what comparing the vectors of the same images showed; None where that was not needed.
    """

    face: int
    cause: str
    persons: tuple[PersonSeen, ...]
    exact: int
    thresholds: Mapping[str, float]
    sample: str | None


def gate_in_words(gate: Document) -> GateInWords:
    """An element of the report's `gates` as it is read."""
    name, wanted = gate["name"], _figure(gate["name"], gate["wanted"])
    wanted = wanted if wanted == NOTHING else f"{_RELATIONS[name]} {wanted}"
    value = _figure(name, gate["value"])
    return GateInWords(name, GATE_TITLES[name], str(gate["state"]), value, wanted, gate["message"])


def meaning(comparison: StoredComparison) -> str:
    """Why a comparison came out different, in general."""
    return MEANINGS[comparison.cause or "pending"]


def failure(comparison: StoredComparison) -> str | None:
    """What the gallery that failed said; None where none failed."""
    if comparison.verdict != Verdict.CANDIDATE_FAILED:
        return None
    error = (comparison.proof or {}).get("error") or {}
    return error.get("message")


def seen(comparison: StoredComparison) -> dict[int, FaceSeen]:
    """By a face's place, what was seen when its cause was looked for."""
    faces = (comparison.proof or {}).get("faces", ())
    return {int(face["face"]): _face_seen(face) for face in faces}


def difference(face: Document) -> str:
    """How the two answers about a face differ.

    :param face: an element of a comparison's `details`.
    """
    pkl, pgvector = face["pkl"], face["pgvector"]
    if bool(pkl) != bool(pgvector):
        return f"Only {'the PKL' if pkl else 'pgvector'} names somebody"
    if not face["differs"]:
        return "Same answer"
    return "Same person, other top five" if pkl[0]["name"] == pgvector[0]["name"] else "Different person"


def _figure(gate: str, value: float | None) -> str:
    return NOTHING if value is None else _WRITTEN[gate].format(value).replace("%", " %")


def _face_seen(face: Document) -> FaceSeen:
    exact = face.get("exact", ())
    ranks = {match["name"]: rank for rank, match in enumerate(exact, start=1)}
    thresholds = face.get("thresholds", {})
    persons = tuple(_person_seen(person, ranks, thresholds) for person in face.get("persons", ()))
    involved_first = tuple(sorted(persons, key=lambda person: person.cause is None))
    return FaceSeen(int(face["face"]), face["cause"], involved_first, len(exact), thresholds, _sample(face))


def _person_seen(person: Document, ranks: Mapping[str, int], thresholds: Mapping[str, float]) -> PersonSeen:
    tell = _TELLERS.get(person.get("cause") or "")
    sentence = tell(person, ranks, thresholds) if tell else None
    distances = person.get("pkl_distance"), person.get("pgvector_distance")
    return PersonSeen(person["name"], person.get("image"), *distances, person.get("cause"), sentence)


def _drift(person: Document, _: Mapping[str, int], __: Mapping[str, float]) -> str:
    name = person["name"]
    for gallery, field in (("The PKL", "pkl_distance"), ("pgvector", "pgvector_distance")):
        if person.get(field) is None:
            return f"{gallery} holds nothing of {name}."
    counts = (
        (person.get("images_only_in_pkl", 0), "only in the PKL"),
        (person.get("images_only_in_pgvector", 0), "only in pgvector"),
        (person.get("images_with_other_vectors", 0), "with another vector in each"),
    )
    told = [f"{count:,} {'photo' if count == 1 else 'photos'} {where}" for count, where in counts if count]
    return (
        f"Of {name}: {', '.join(told)}."
        if told
        else f"What is held of {name} has changed since the galleries answered."
    )


def _missed(person: Document, ranks: Mapping[str, int], _: Mapping[str, float]) -> str:
    name, rank = person["name"], ranks.get(person["name"])
    place = f"in place {rank}" if rank else "among the best five"
    return f"An exact search of the database finds {name} {place}; the index did not return them."


def _edge(person: Document, _: Mapping[str, int], thresholds: Mapping[str, float]) -> str:
    limits = sorted(set(thresholds.values()))
    told = " and ".join(f"{limit:g}" for limit in limits)
    between = "between the thresholds" if len(limits) > 1 else "at the threshold"
    return f"{person['name']} is at {_distance(person)}, {between} {told}."


def _tied(person: Document, _: Mapping[str, int], __: Mapping[str, float]) -> str:
    return f"{person['name']} is at {_distance(person)}, as far away as whoever stands in their place."


def _other_spec(person: Document, _: Mapping[str, int], __: Mapping[str, float]) -> str:
    return f"The photos of {person['name']} have another vector in each gallery."


def _distance(person: Document) -> str:
    distance = person.get("pkl_distance")
    return "no distance" if distance is None else f"{distance:.6f}"


_TELLERS: Mapping[str, Callable[[Document, Mapping[str, int], Mapping[str, float]], str]] = {
    Cause.GALLERY_DRIFT: _drift,
    Cause.ANN_MISS: _missed,
    Cause.THRESHOLD_EDGE: _edge,
    Cause.TIE: _tied,
    Cause.SPEC_MISMATCH: _other_spec,
}


def _sample(face: Document) -> str | None:
    sample = face.get("sample")
    if not sample:
        return None
    changed, shared = sample["images_with_other_vectors"], sample["images_in_both"]
    return f"Of {shared:,} photos drawn from those that both galleries hold, {changed:,} have another vector in each."
