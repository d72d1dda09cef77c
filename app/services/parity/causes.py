"""Finds why both galleries named other persons for a face, by looking into both (DESIGN: What a difference can be).

Three lists are held against each other: the PKL's answer, which is exact by construction; pgvector's answer; and what
an exact search of the database finds, index by-passed. What the exact search has and pgvector's answer lacks, the index
missed. What then still differs from the PKL's answer lies in what the galleries hold (drift, another spec) or, where
they hold the same, in rounding at the threshold or between equals. A person who is named on one side only because
somebody else was pushed out has no cause of their own. What is left without any is unexplained: a bug of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain import TOP_PERSONS, FaceMatches
from app.services.parity.comparison_rows import matches_json
from app.services.parity.gallery_evidence import ROUNDING, GalleryEvidence, PersonEvidence, is_same
from app.services.parity.records import Cause, FaceComparison, most_serious

_ENOUGH_IMAGES = 2  # one image with another vector was replaced; all of several were embedded otherwise

ExactSearch = Callable[[str, NDArray[np.float64]], list[FaceMatches]]
Evidence = Mapping[str, PersonEvidence]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The largest cosine distance of a match in each gallery."""

    pkl: float
    pgvector: float


@dataclass(frozen=True, slots=True)
class Finding:
    """Why one face came out different.

    :param proof: what was looked at and seen, without vectors.
    :param persons: whom the proof names.
    """

    cause: Cause
    proof: dict[str, Any]
    persons: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Case:
    """A face with all that was looked up for it."""

    face: FaceComparison
    exact: FaceMatches
    evidence: Evidence
    at: datetime


class CauseFinder:
    """Looks at one face at a time.

    :param exact: searches the database by measuring every face, with pgvector's threshold.
    """

    def __init__(self, exact: ExactSearch, evidence: GalleryEvidence, thresholds: Thresholds) -> None:
        self._exact = exact
        self._evidence = evidence
        self._thresholds = thresholds

    def find(self, domain: str, face: FaceComparison, probe: NDArray[np.float64], at: datetime) -> Finding:
        """The cause, and what was seen.

        :param probe: (D,) float64, the face's embedding.
        :param at: when both galleries answered; what was written since does not count.
        :raises StoreUnavailable: a gallery cannot be asked.
        """
        (exact,) = self._exact(domain, probe[np.newaxis])
        persons = face.persons | _names(exact)
        case = _Case(face, exact, self._evidence.of(domain, persons, probe), at)
        causes = {name: cause for name in sorted(persons) if (cause := self._cause_of(case, name)) is not None}
        sample = self._evidence.changed_images(domain) if Cause.GALLERY_DRIFT in causes.values() else None
        causes = {name: _with_spec(cause, case.evidence[name], sample) for name, cause in causes.items()}
        return Finding(most_serious(causes.values()), self._proof(case, causes, sample), frozenset(persons))

    def _cause_of(self, case: _Case, name: str) -> Cause | None:
        """Why this person is on one side only, or first there; None where that is not so, or somebody else's doing."""
        face, evidence = case.face, case.evidence[name]
        if _is_out_of_date(case, evidence):
            return Cause.GALLERY_DRIFT
        if _is_missed(case, name):
            return Cause.ANN_MISS
        if not _is_in_question(face.pkl, case.exact, name):
            return None
        if not evidence.is_held_equally:
            return Cause.GALLERY_DRIFT
        return self._rounding_of(case, evidence)

    def _rounding_of(self, case: _Case, evidence: PersonEvidence) -> Cause | None:
        """The cause of a difference over somebody whom both galleries hold at the same distance."""
        distance, thresholds = evidence.pkl_distance, self._thresholds
        if distance is None:
            return None
        low, high = sorted((thresholds.pkl, thresholds.pgvector))
        named = _is_in(case.face.pkl, evidence.name), _is_in(case.exact, evidence.name)
        if named[0] != named[1] and low - ROUNDING <= distance <= high + ROUNDING:
            return Cause.THRESHOLD_EDGE
        return Cause.TIE if _is_tied(case, evidence.name, distance) else None

    def _proof(self, case: _Case, causes: Mapping[str, Cause], sample: tuple[int, int] | None) -> dict[str, Any]:
        proof: dict[str, Any] = {
            "cause": most_serious(causes.values()),
            "exact": matches_json(case.exact),
            "thresholds": {"pkl": self._thresholds.pkl, "pgvector": self._thresholds.pgvector},
            "persons": [e.to_json() | {"cause": causes.get(e.name)} for e in case.evidence.values()],
        }
        if sample is not None:
            proof["sample"] = {"images_with_other_vectors": sample[0], "images_in_both": sample[1]}
        return proof


def _is_out_of_date(case: _Case, evidence: PersonEvidence) -> bool:
    """Whether a gallery has changed since it answered: then it held something else than the other for a while."""
    if not _is_in_question(case.face.pkl, case.face.pgvector, evidence.name):
        return False
    answered = (
        (_distance(case.face.pkl, evidence.name), evidence.pkl_distance),
        (_distance(case.face.pgvector, evidence.name), evidence.pgvector_distance),
    )
    if any(then is not None and not is_same(then, now) for then, now in answered):
        return True
    return evidence.written_at is not None and evidence.written_at > case.at


def _is_missed(case: _Case, name: str) -> bool:
    """Whether the exact search finds the person, and the answer did not name them although they belong in it."""
    return _is_in(case.exact, name) and not _is_in(case.face.pgvector, name)


def _is_in_question(one: FaceMatches, other: FaceMatches, name: str) -> bool:
    """Whether the person is in one list only, or first in one list only."""
    if _is_in(one, name) != _is_in(other, name):
        return True
    return name in (_top1(one), _top1(other)) and _top1(one) != _top1(other)


def _is_tied(case: _Case, name: str, distance: float) -> bool:
    """Whether the person could as well have been in the other list, or first in it: who is there is as far away."""
    for inside, other in ((case.face.pkl, case.exact), (case.exact, case.face.pkl)):
        if not _is_in(inside, name):
            continue
        if not _is_in(other, name):
            return len(other) == TOP_PERSONS and is_same(other[-1].distance, distance)
        if _top1(inside) == name and _top1(other) != name:
            return is_same(other[0].distance, distance)
    return False


def _with_spec(cause: Cause, evidence: PersonEvidence, sample: tuple[int, int] | None) -> Cause:
    """`spec_mismatch` where not this image alone has another vector, but all of them."""
    if cause is not Cause.GALLERY_DRIFT or sample is None or not evidence.changed:
        return cause
    changed, shared = sample
    return Cause.SPEC_MISMATCH if shared >= _ENOUGH_IMAGES and changed == shared else cause


def _names(matches: FaceMatches) -> set[str]:
    return {match.person for match in matches}


def _is_in(matches: FaceMatches, name: str) -> bool:
    return any(match.person == name for match in matches)


def _top1(matches: FaceMatches) -> str | None:
    return matches[0].person if matches else None


def _distance(matches: FaceMatches, name: str) -> float | None:
    return next((match.distance for match in matches if match.person == name), None)
