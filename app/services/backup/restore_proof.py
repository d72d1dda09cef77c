"""Proves a restored database and its PKLs: by their counts, and by faces that find themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import EmbeddingSpec, FaceMatches
from app.errors import AppError, SpecMismatch
from app.services.backup import counts_sql as sql
from app.services.backup.backup_service import read_facts
from app.services.backup.manifest import DatabaseFacts
from app.services.matching import MatchPolicy
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.recognition_service import RecognitionService
from app.services.vector_db_service import VectorDbService

if TYPE_CHECKING:
    from app.adapters.pkl.live import LivePklGalleries
    from app.adapters.postgres import Database

SAMPLE_FACES = 5  # of each domain and spec

_TIMEOUT_S = 600.0
# A face has distance 0 to itself, in both galleries and whatever the model.
_ITSELF = MatchPolicy(threshold=0.0, confidence_of=lambda _distance, _verified: 100.0)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    :param figure: what was found; where it failed, also what should have been.
    """

    name: str
    passed: bool
    figure: str


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Random faces of a domain.

    :param probes: (F, D) float64.
    """

    domain: str
    spec: EmbeddingSpec
    persons: tuple[str, ...]
    images: tuple[str, ...]
    probes: NDArray[np.float64]

    def found(self, answers: Sequence[FaceMatches]) -> list[bool]:
        """For each face whether the answer to it names its person at distance 0."""
        return [
            any(match.person == person and match.distance == 0.0 for match in matches)
            for person, matches in zip(self.persons, answers, strict=True)
        ]


def prove_counts(database: Database, expected: DatabaseFacts) -> list[Check]:
    """Hold every count against the manifest's."""
    with database.transaction(_TIMEOUT_S, read_only=True) as cursor:
        found = read_facts(cursor)
    rows = f"{sum(found.tables.values()):,} rows in {len(found.tables)} tables"
    return [
        _compare("schema", {"revision": found.schema}, {"revision": expected.schema}, str(found.schema)),
        _compare("rows", found.tables, expected.tables, rows),
        _compare("persons", _persons(found), _persons(expected), _listed(_persons(found))),
        _compare("faces", _faces(found), _faces(expected), _listed(_faces(found))),
        _compare("HNSW indexes", {"": found.vector_indexes}, {"": expected.vector_indexes}, f"{found.vector_indexes}"),
    ]


def draw_samples(database: Database, facts: DatabaseFacts, specs: Sequence[EmbeddingSpec]) -> list[Sample]:
    """Random faces of each domain and spec; none where a domain has no face of a spec."""
    with database.transaction(_TIMEOUT_S) as cursor:
        cursor.execute(sql.ANALYZE)
        drawn = []
        for spec in specs:
            for domain in facts.domains:
                cursor.execute(sql.SAMPLE, {"domain": domain, "key": spec.key, "faces": SAMPLE_FACES})
                if rows := cursor.fetchall():
                    drawn.append(_sample(domain, spec, rows))
        return drawn


def prove_search(database: Database, facts: DatabaseFacts, samples: Sequence[Sample]) -> list[Check]:
    """Search the sampled faces as a request would; each has to find itself."""
    checks = []
    for sample in samples:
        gallery = PgVectorRecognitionService(VectorDbService(database, sample.spec), _ITSELF, _TIMEOUT_S)
        found = sample.found(gallery.search(sample.domain, sample.probes))
        gallery.close()
        checks.append(_search_check(f"search {sample.domain}", found))
    unsampled = {domain for domain, count in facts.domains.items() if count.embeddings}
    unsampled -= {sample.domain for sample in samples}
    return checks + [Check(f"search {domain}", False, "no face could be searched") for domain in sorted(unsampled)]


def prove_pkl(galleries: LivePklGalleries, sample: Sample) -> Check:
    """The restored PKL has to answer as the database does; a face that it never held is told, not held against it."""
    name = f"PKL {sample.domain}"
    service = RecognitionService(galleries.current, galleries.domains, _ITSELF)
    try:
        found = sample.found(service.search(sample.domain, sample.probes))
        gallery = galleries.current(sample.domain)
    except SpecMismatch:
        return Check(name, True, "is of another spec than the database, as it was: not compared")
    except AppError as error:
        return Check(name, False, error.message)
    held = [bool(gallery.faces_of_image(image)) for image in sample.images]
    check = _search_check(name, [same for same, is_held in zip(found, held, strict=True) if is_held])
    absent = held.count(False)
    return Check(name, check.passed, f"{check.figure}; {absent} only in the database") if absent else check


def _search_check(name: str, found: Sequence[bool]) -> Check:
    return Check(name, all(found), f"{sum(found)} of {len(found)} faces found themselves")


def _sample(domain: str, spec: EmbeddingSpec, rows: Sequence[tuple[str, str, memoryview]]) -> Sample:
    persons, images, vectors = zip(*rows, strict=True)
    # vector_send: two 16-bit integers, then the numbers, all big-endian.
    probes = np.stack([np.frombuffer(sent, dtype=">f4", offset=4).astype(np.float64) for sent in vectors])
    return Sample(domain, spec, tuple(persons), tuple(images), probes)


def _compare(name: str, found: Mapping[str, object], expected: Mapping[str, object], figure: str) -> Check:
    keys = sorted(found.keys() | expected.keys())
    wrong = [
        f"{key} {found.get(key)} instead of {expected.get(key)}" for key in keys if found.get(key) != expected.get(key)
    ]
    return Check(name, not wrong, "; ".join(wrong).strip() if wrong else figure)


def _persons(facts: DatabaseFacts) -> dict[str, int]:
    return {domain: count.persons for domain, count in facts.domains.items()}


def _faces(facts: DatabaseFacts) -> dict[str, int]:
    return {domain: count.embeddings for domain, count in facts.domains.items()}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{domain} {count:,}" for domain, count in counts.items()) or "none"
