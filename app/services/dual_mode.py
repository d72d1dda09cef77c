"""Dual mode: the PKL gallery answers, the pgvector gallery shadows, both are compared and every difference is logged.

Operators find these lines with `grep -E "DUAL-MODE|pgvector"`; persons appear in them by `person_key`, never by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from app.domain import RecognizedFace, person_key
from app.services.comparison import compare_results, differing_faces
from app.services.shadow import Outcome, Shadow
from app.timing import stage

log = structlog.get_logger(__name__)

Recognise = Callable[[], Sequence[RecognizedFace]]


def recognize_dual(shadow: Shadow, control: Recognise, candidate: Recognise, domain: str) -> dict[str, Any]:
    """The control's answer, the candidate's beside it, and what differs.

    :return: `recognized_faces`, `pgvector_results`, `comparison` (CONTRACT, part A). Where the candidate failed,
        `pgvector_results` is empty and `comparison` holds `candidate_error` with its code and message.
    :raises: only what the control raises.
    """
    faces, control_ms, outcome = shadow.run(_staged("pkl", control), _staged("pgvector", candidate))
    with stage("compare"):
        pkl_results = [face.to_json() for face in faces]
        pgvector_results = [face.to_json() for face in outcome.value or ()]
        comparison = compare_results(pkl_results, pgvector_results)
        if outcome.error is not None:
            comparison["candidate_error"] = {"code": outcome.error.error_code, "message": outcome.error.message}
        _log(comparison, domain, control_ms, outcome)
    return {"recognized_faces": pkl_results, "pgvector_results": pgvector_results, "comparison": comparison}


def _staged(name: str, recognise: Recognise) -> Recognise:
    def timed() -> Sequence[RecognizedFace]:
        with stage(name):
            return recognise()

    return timed


def _log(comparison: dict[str, Any], domain: str, control_ms: float, outcome: Outcome[Any]) -> None:
    facts = {
        "domain": domain,
        "faces": len(comparison.get("faces", [comparison])),
        "pkl_ms": control_ms,
        "pgvector_ms": outcome.duration_ms,
    }
    log.info("DUAL-MODE comparison", **facts, **_persons(comparison, domain))
    if outcome.error is not None:
        cause = "candidate_timeout" if "timeout" in outcome.error.error_code else "candidate_error"
        log.warning("DUAL-MODE pgvector gave no answer", **facts, cause=cause, code=outcome.error.error_code)
        return
    for index, face in differing_faces(comparison):
        log.warning("DUAL-MODE discrepancy", **facts, face=index, **_persons(face, domain))


def _persons(face: Mapping[str, Any], domain: str) -> dict[str, Any]:
    return {
        "top1_match": face["top1_match"],
        "pkl_top1": person_key(domain, face["pkl_top1"]),
        "pgvector_top1": person_key(domain, face["pgvector_top1"]),
        "top5_overlap": face["top5_overlap"],
        "top5_overlap_pct": face["top5_overlap_pct"],
    }
