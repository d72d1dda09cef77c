"""What differs between the two galleries' answers: pure functions over the contract's JSON elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from app.domain import TOP_PERSONS

RecognizedFaceJson = Mapping[str, Any]


def compare_results(
    pkl_results: Sequence[RecognizedFaceJson], pgvector_results: Sequence[RecognizedFaceJson]
) -> dict[str, Any]:
    """Compare the answers of both galleries to the same faces; never raises.

    The five fields of the contract stand at the top for the largest face, which both lists have first. With several
    faces, `faces` holds the same five fields for each of them. `top5_overlap` counts the persons both sides name;
    `top5_overlap_pct` is that count relative to the longer of the two lists (so two equal lists of three persons
    overlap by 100 %, and two empty ones too). Nobody on both sides is a top-1 match; a face that only one side
    answered is not.

    :param pkl_results: the control's elements of `recognized_faces`, largest face first.
    :param pgvector_results: the candidate's, in the same order.
    """
    pairs = list(zip_longest(pkl_results, pgvector_results))
    faces = [_compare_face(pkl, pgvector) for pkl, pgvector in pairs] or [_compare_face({}, {})]
    if len(faces) == 1:
        return faces[0]
    return faces[0] | {"faces": faces}


def differing_faces(comparison: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """The faces whose best person or top five differ, with their index (0 is the largest face)."""
    faces = comparison.get("faces", [comparison])
    return [(i, f) for i, f in enumerate(faces) if not f["top1_match"] or f["top5_overlap_pct"] < 100.0]  # noqa: PLR2004


def _compare_face(pkl: RecognizedFaceJson | None, pgvector: RecognizedFaceJson | None) -> dict[str, Any]:
    pkl_top5, pgvector_top5 = _top5(pkl), _top5(pgvector)
    pkl_top1, pgvector_top1 = _top1(pkl), _top1(pgvector)
    overlap = len(pkl_top5 & pgvector_top5)
    longer = max(len(pkl_top5), len(pgvector_top5))
    return {
        "top1_match": pkl is not None and pgvector is not None and pkl_top1 == pgvector_top1,
        "pkl_top1": pkl_top1,
        "pgvector_top1": pgvector_top1,
        "top5_overlap": overlap,
        "top5_overlap_pct": round(100.0 * overlap / longer, 1) if longer else 100.0,
    }


def _top1(face: RecognizedFaceJson | None) -> str | None:
    return face.get("name") if face else None


def _top5(face: RecognizedFaceJson | None) -> set[str]:
    matches = (face or {}).get("matches") or []
    return set(list(dict.fromkeys(m["name"] for m in matches))[:TOP_PERSONS])
