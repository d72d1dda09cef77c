"""How a comparison stands in the database: its columns, and names in them that are gone since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from app.domain import FaceMatches
from app.services.parity.records import ComparisonRecord, FaceComparison, Verdict

DELETED = "(deleted)"  # stands for a person who was deleted


def row_of(record: ComparisonRecord) -> dict[str, Any]:
    """The record's columns, JSON-serialisable, every text one that Postgres can hold."""
    compared = record.verdict is not Verdict.CANDIDATE_FAILED
    largest = record.faces[0]
    pkl, pgvector = _best(largest.pkl), _best(largest.pgvector)
    overlap = [_overlap(face) for face in record.faces]
    row: dict[str, Any] = {
        "record_id": record.record_id,
        "request_id": record.request_id,
        "at": record.at.isoformat(),
        "domain": record.domain,
        "spec_key": record.spec_key,
        "source": record.source,
        "answered_by": record.answered_by,
        "faces": len(record.faces),
        "pkl_top1": pkl.get("name"),
        "pgvector_top1": pgvector.get("name"),
        "pkl_distance": pkl.get("distance"),
        "pgvector_distance": pgvector.get("distance"),
        "top1_match": all(_top1(face.pkl) == _top1(face.pgvector) for face in record.faces) if compared else None,
        "top5_overlap": sum(both for both, _ in overlap) if compared else None,
        "top5_size": sum(longer for _, longer in overlap) if compared else None,
        "known_flip": record.flip,
        "pkl_ms": record.pkl_ms,
        "pgvector_ms": record.pgvector_ms,
        "verdict": record.verdict,
        "cause": record.cause,
        "proof": record.proof,
        "details": [_face(face) for face in record.faces],
        "persons": record.persons,
    }
    return {name: storable(value) for name, value in row.items()}


def storable(value: Any) -> Any:
    """`value` with what Postgres refuses within a text written out: a NUL, and halves of characters in paths."""
    if isinstance(value, str):
        return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {key: storable(item) for key, item in value.items()}
    return value


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with persons' names replaced, as `rename_in_comparison` does it in the database.

    :param names: old -> new; an image of such a person becomes null, because its path holds the old name.
    """
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    if isinstance(value, dict):
        changed = {key: renamed(item, names) for key, item in value.items()}
        if changed.get("name") in names:
            changed |= {"name": names[changed["name"]], "image": None}
        return changed
    return value


def row_renamed(row: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A row of `row_of` with persons' names replaced."""
    if not names:
        return row
    top1 = {name: names.get(row[name], row[name]) for name in ("pkl_top1", "pgvector_top1")}
    persons = [names.get(person, person) for person in row["persons"]]
    return row | top1 | {"persons": persons, "details": renamed(row["details"], names)}


def _face(face: FaceComparison) -> dict[str, Any]:
    return {
        "box": asdict(face.box),
        "differs": face.differs,
        "pkl": matches_json(face.pkl),
        "pgvector": matches_json(face.pgvector),
    }


def matches_json(matches: FaceMatches) -> list[dict[str, Any]]:
    """`[{name, image, distance}]`, best first."""
    return [{"name": match.person, "image": match.image, "distance": match.distance} for match in matches]


def _best(matches: FaceMatches) -> dict[str, Any]:
    return matches_json(matches[:1])[0] if matches else {}


def _top1(matches: FaceMatches) -> str | None:
    return matches[0].person if matches else None


def _overlap(face: FaceComparison) -> tuple[int, int]:
    """Persons whom both named, and the length of the longer list."""
    pkl, pgvector = ({match.person for match in matches} for matches in (face.pkl, face.pgvector))
    return len(pkl & pgvector), max(len(pkl), len(pgvector))
