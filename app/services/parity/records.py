"""The nouns of parity: one comparison of both galleries, its faces, and why they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from app.domain import FaceBox, FaceMatches
from app.services.dual_mode import GalleryName

Source = Literal["live", "replay"]
Flip = Literal["lost", "gained"]

JUDGEMENTS = ("pkl", "pgvector", "both", "neither")


class Verdict(StrEnum):
    """What became of a comparison; `candidate_failed`: the gallery that did not answer the caller gave no answer."""

    AGREE = "agree"
    DIFFER = "differ"
    CANDIDATE_FAILED = "candidate_failed"


class Cause(StrEnum):
    """Why both galleries differ, most serious first: a comparison of several faces has the first cause of this list.

    First what is a bug, then what left requests without a comparison, then what an operator has to put right, then
    what the index costs, and last what is no fault of either gallery.
    """

    UNEXPLAINED = "unexplained"
    CANDIDATE_ERROR = "candidate_error"
    CANDIDATE_TIMEOUT = "candidate_timeout"
    SPEC_MISMATCH = "spec_mismatch"
    GALLERY_DRIFT = "gallery_drift"
    ANN_MISS = "ann_miss"
    THRESHOLD_EDGE = "threshold_edge"
    TIE = "tie"


_SERIOUSNESS = tuple(Cause)


def most_serious(causes: Iterable[Cause]) -> Cause:
    """The first of `Cause`'s order; `unexplained` where there is none."""
    return min(causes, key=_SERIOUSNESS.index, default=Cause.UNEXPLAINED)


@dataclass(frozen=True, slots=True)
class FaceComparison:
    """One probe face, and whom each gallery named.

    :param pkl, pgvector: empty where nobody was named, or the gallery gave no answer.
    :param differs: whether the best person or the set of the best five is another.
    """

    box: FaceBox
    pkl: FaceMatches
    pgvector: FaceMatches
    differs: bool

    @property
    def flip(self) -> Flip | None:
        """`lost`: known to the PKL and unknown to pgvector; `gained`: the other way round."""
        if bool(self.pkl) == bool(self.pgvector):
            return None
        return "lost" if self.pkl else "gained"

    @property
    def persons(self) -> set[str]:
        """Everybody whom one of them named."""
        return {match.person for match in (*self.pkl, *self.pgvector)}


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """A row of `comparisons`, before it is written.

    :param record_id: a UUID, by which the row is found again.
    :param faces: largest first.
    :param pkl_ms, pgvector_ms: how long each took, None where it gave no answer.
    :param cause: where it is known at once: the other gallery failed.
    :param proof: what was seen, without vectors.
    """

    record_id: str
    request_id: str
    at: datetime
    domain: str
    spec_key: str
    source: Source
    answered_by: GalleryName
    faces: tuple[FaceComparison, ...]
    pkl_ms: float | None
    pgvector_ms: float | None
    verdict: Verdict
    cause: Cause | None = None
    proof: dict[str, Any] | None = None

    @property
    def flip(self) -> Flip | None:
        """`lost` where any face was, else `gained` where any face was."""
        if self.verdict is Verdict.CANDIDATE_FAILED:
            return None
        flips = {face.flip for face in self.faces}
        return "lost" if "lost" in flips else "gained" if "gained" in flips else None

    @property
    def persons(self) -> list[str]:
        """Everybody whom one gallery named on any face."""
        return sorted(set[str]().union(*(face.persons for face in self.faces)))


@dataclass(frozen=True, slots=True)
class StoredComparison:
    """A row of `comparisons`, as it is read.

    :param details: per face `box`, `differs`, and `pkl` and `pgvector`: `[{name, image, distance}]`.
    :param proof: per cause what was looked at and seen; None where nobody looked yet.
    """

    id: int
    request_id: str
    at: datetime
    domain: str
    source: str
    answered_by: str
    faces: int
    pkl_top1: str | None
    pgvector_top1: str | None
    pkl_distance: float | None
    pgvector_distance: float | None
    top1_match: bool | None
    top5_overlap: int | None
    top5_size: int | None
    known_flip: str | None
    pkl_ms: float | None
    pgvector_ms: float | None
    verdict: str
    cause: str | None
    proof: dict[str, Any] | None
    details: list[dict[str, Any]]
    judged: str | None
    judged_by: str | None
    judged_at: datetime | None


@dataclass(frozen=True, slots=True)
class ComparisonQuery:
    """Which comparisons are listed, newest first.

    :param domains: None for all.
    :param verdicts: which verdicts.
    :param cause: one of `Cause`; `pending` for discrepancies that were not looked at yet; None for every cause.
    :param judged: whether a person has said who was right; None for either.
    :param before_id: only rows older than this one, to page.
    """

    domains: Sequence[str] | None = None
    verdicts: Sequence[str] = (Verdict.DIFFER, Verdict.CANDIDATE_FAILED)
    since: datetime | None = None
    until: datetime | None = None
    cause: str | None = None
    judged: bool | None = None
    before_id: int | None = None
    limit: int = 50
