"""Dual mode: one gallery answers, the other shadows, both are compared and every difference is logged.

The PKL gallery answers unless it is set otherwise (VECTOR_DB_PRIMARY): after the cutover pgvector answers and the PKL
shadows, for as long as somebody may want to go back. The comparison is the same in both directions.

Operators find these lines with `grep -E "DUAL-MODE|pgvector"`; persons appear in them by `person_key`, never by name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from app.domain import Face, RecognizedFace, person_key
from app.errors import AppError
from app.services.comparison import compare_results, differing_faces
from app.services.shadow import Shadow
from app.timing import stage

log = structlog.get_logger(__name__)

Recognise = Callable[[], Sequence[RecognizedFace]]
GalleryName = Literal["pkl", "pgvector"]


@dataclass(frozen=True, slots=True)
class DualAnswer:
    """What both galleries said about the same faces.

    :param answered_by: the gallery whose answer the caller gets; the other is its shadow.
    :param pkl, pgvector: one element per face, largest first; empty where that gallery gave no answer.
    :param error: why the shadow gave no answer.
    :param comparison: of `compare_results`.
    """

    domain: str
    answered_by: GalleryName
    pkl: Sequence[RecognizedFace]
    pgvector: Sequence[RecognizedFace]
    pkl_ms: float
    pgvector_ms: float
    error: AppError | None
    comparison: dict[str, Any]

    @property
    def silent(self) -> GalleryName | None:
        """The gallery that gave no answer."""
        if self.error is None:
            return None
        return "pgvector" if self.answered_by == "pkl" else "pkl"

    @property
    def failure(self) -> str | None:
        """The cause, where the shadow gave no answer: `spec_mismatch`, `candidate_timeout` or `candidate_error`."""
        if self.error is None:
            return None
        if self.error.error_code == "spec_mismatch":
            return "spec_mismatch"
        return "candidate_timeout" if "timeout" in self.error.error_code else "candidate_error"

    def to_json(self) -> dict[str, Any]:
        """`recognized_faces`, `pgvector_results`, `comparison` (CONTRACT, part A); `answered_by`.

        Where pgvector answered, `pkl_results` has the shadow's answer.

        Where the shadow failed, `comparison` also holds `candidate_error` (of pgvector) or `pkl_error`: its code and
        message.
        """
        answering = self.pkl if self.answered_by == "pkl" else self.pgvector
        failed = {}
        if self.error is not None:
            name = "pkl_error" if self.silent == "pkl" else "candidate_error"
            failed = {name: {"code": self.error.error_code, "message": self.error.message}}
        shadowed = {} if self.answered_by == "pkl" else {"pkl_results": [face.to_json() for face in self.pkl]}
        return {
            "recognized_faces": [face.to_json() for face in answering],
            "pgvector_results": [face.to_json() for face in self.pgvector],
            "comparison": self.comparison | failed,
            "answered_by": self.answered_by,
        } | shadowed


Record = Callable[[DualAnswer, Sequence[Face]], None]


@dataclass(frozen=True, slots=True)
class DualMode:
    """How both galleries are asked.

    :param shadow: runs the gallery that does not answer, within a limit.
    :param reading: keeps changes of a domain's persons out while both are searched.
    :param answered_by: the gallery whose answer the caller gets.
    :param sample_rate: the share of requests that are compared, 0 to 1.
    :param record: keeps each comparison; it neither waits nor raises.
    """

    shadow: Shadow
    reading: Callable[[str], AbstractContextManager[None]] = lambda _domain: nullcontext()
    answered_by: GalleryName = "pkl"
    sample_rate: float = 1.0
    record: Record = lambda _answer, _faces: None

    def is_sampled(self) -> bool:
        """Whether this request is to be compared."""
        return random.random() < self.sample_rate  # noqa: S311 (nothing to guess)

    def recognize(self, faces: Sequence[Face], domain: str, pkl: Recognise, pgvector: Recognise) -> dict[str, Any]:
        """The answer of dual mode; logged and recorded after both galleries are let go of.

        :raises: only what the answering gallery raises.
        """
        if not self.is_sampled():
            return _unsampled(self.answered_by, pkl if self.answered_by == "pkl" else pgvector)
        with self.reading(domain):  # until the shadow has answered or its limit is over
            answer = recognize_dual(self.shadow, pkl, pgvector, domain, self.answered_by)
        self.record(answer, faces)
        return answer.to_json()


def recognize_dual(
    shadow: Shadow, pkl: Recognise, pgvector: Recognise, domain: str, answered_by: GalleryName = "pkl"
) -> DualAnswer:
    """Both galleries' answers and what differs, which is logged.

    :raises: only what the answering gallery raises.
    """
    pkl, pgvector = _staged("pkl", pkl), _staged("pgvector", pgvector)
    answering, other = (pkl, pgvector) if answered_by == "pkl" else (pgvector, pkl)
    faces, answering_ms, outcome = shadow.run(answering, other)
    given, other_given = (faces, answering_ms), (outcome.value or (), outcome.duration_ms)
    (of_pkl, pkl_ms), (of_pgvector, pgvector_ms) = (
        (given, other_given) if answered_by == "pkl" else (other_given, given)
    )
    with stage("compare"):
        comparison = compare_results([face.to_json() for face in of_pkl], [face.to_json() for face in of_pgvector])
        answer = DualAnswer(domain, answered_by, of_pkl, of_pgvector, pkl_ms, pgvector_ms, outcome.error, comparison)
        _log(answer)
    return answer


def _staged(name: GalleryName, recognise: Recognise) -> Recognise:
    def timed() -> Sequence[RecognizedFace]:
        with stage(name):
            return recognise()

    return timed


def _unsampled(answered_by: GalleryName, recognise: Recognise) -> dict[str, Any]:
    """The answer of one gallery alone, with every field of dual mode: those that compare are null."""
    faces = [face.to_json() for face in _staged(answered_by, recognise)()]
    top1 = faces[0]["name"] if faces else None
    comparison = {
        "top1_match": None,
        "pkl_top1": top1 if answered_by == "pkl" else None,
        "pgvector_top1": top1 if answered_by == "pgvector" else None,
        "top5_overlap": None,
        "top5_overlap_pct": None,
        "sampled": False,
    }
    pgvector_results = faces if answered_by == "pgvector" else []
    return {
        "recognized_faces": faces,
        "pgvector_results": pgvector_results,
        "comparison": comparison,
        "answered_by": answered_by,
    }


def _log(answer: DualAnswer) -> None:
    facts = {
        "domain": answer.domain,
        "faces": len(answer.comparison.get("faces", [answer.comparison])),
        "pkl_ms": answer.pkl_ms,
        "pgvector_ms": answer.pgvector_ms,
        "answered_by": answer.answered_by,
    }
    log.info("DUAL-MODE comparison", **facts, **_persons(answer.comparison, answer.domain))
    if answer.error is not None:
        silent = "PKL" if answer.silent == "pkl" else "pgvector"
        log.warning(f"DUAL-MODE {silent} gave no answer", **facts, cause=answer.failure, code=answer.error.error_code)
        return
    for index, face in differing_faces(answer.comparison):
        log.warning("DUAL-MODE discrepancy", **facts, face=index, **_persons(face, answer.domain))


def _persons(face: Mapping[str, Any], domain: str) -> dict[str, Any]:
    return {
        "top1_match": face["top1_match"],
        "pkl_top1": person_key(domain, face["pkl_top1"]),
        "pgvector_top1": person_key(domain, face["pgvector_top1"]),
        "top5_overlap": face["top5_overlap"],
        "top5_overlap_pct": face["top5_overlap_pct"],
    }
