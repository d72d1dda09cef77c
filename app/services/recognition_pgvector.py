"""The pgvector gallery: candidates from the database, decided here exactly as in the PKL gallery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.domain import Face, FaceMatches, RecognizedFace
from app.services import comparison
from app.services.dual_mode import DualMode, Recognise
from app.services.matching import ROUNDING_MARGIN, Candidate, MatchPolicy, exact_distances, rank_persons
from app.services.shadow import Shadow

if TYPE_CHECKING:
    from app.services.gallery import FaceSource
    from app.services.person_search import StoredFace


class PgVectorRecognitionService:
    """Finds the best persons of a domain of the database for probe embeddings; implements `Gallery`.

    :param vector_db: where candidates come from.
    :param timeout_s: limit of a search where the caller sets none.
    :param dual: how both galleries are asked in dual mode.
    """

    compare_results = staticmethod(comparison.compare_results)

    def __init__(
        self,
        vector_db: FaceSource,
        policy: MatchPolicy,
        timeout_s: float,
        dual: DualMode | None = None,
    ) -> None:
        self._vector_db = vector_db
        self._policy = policy
        self._timeout_s = timeout_s
        self._dual = dual or DualMode(Shadow())

    def close(self) -> None:
        """Start no more searches in dual mode."""
        self._dual.shadow.close()

    @property
    def answers_dual_mode(self) -> bool:
        """Whether in dual mode this gallery answers, and the PKL shadows."""
        return self._dual.answered_by == "pgvector"

    def domains(self) -> frozenset[str]:
        """The domains that can be searched now.

        :raises StoreUnavailable: the database cannot be asked.
        """
        return self._vector_db.domains()

    def recognize_face_pgvector(
        self, faces: Sequence[Face], domain: str, timeout_s: float | None = None
    ) -> list[RecognizedFace]:
        """Each face with the persons it matches, in the order given.

        :raises UnknownDomain, StoreUnavailable, StoreTimeout, SpecMismatch: as `search`.
        """
        if not faces:
            return []
        found = self._search(domain, np.stack([face.embedding for face in faces]), timeout_s or self._timeout_s)
        return [RecognizedFace(face.box, matches) for face, matches in zip(faces, found, strict=True)]

    def recognize_face_dual_mode(self, faces: Sequence[Face], domain: str, control: Recognise) -> dict[str, Any]:
        """The answer of the gallery that is set to answer, this gallery's beside it, and what differs (`DualMode`).

        :param control: searches the same faces in the PKL gallery, the yardstick whoever answers.
        :raises: only what the answering gallery raises.
        """
        limit_s = self._dual.shadow.limit_s if self._dual.answered_by == "pkl" else None
        return self._dual.recognize(
            faces, domain, control, lambda: self.recognize_face_pgvector(faces, domain, limit_s)
        )

    def search(self, domain: str, probes: NDArray[np.float64]) -> list[FaceMatches]:
        """The best persons within the threshold, for each probe.

        :param probes: (F, D) float64. A probe that is zero or not finite matches nobody.
        :return: F tuples, each of at most TOP_PERSONS distinct persons, best first.
        :raises UnknownDomain: the database has no such domain.
        :raises StoreUnavailable: it is down; StoreTimeout: it is too slow.
        :raises SpecMismatch: its embeddings, or the probes, are of another spec.
        """
        return self._search(domain, probes, self._timeout_s)

    def _search(self, domain: str, probes: NDArray[np.float64], timeout_s: float) -> list[FaceMatches]:
        reach = self._policy.threshold + ROUNDING_MARGIN
        found = self._vector_db.candidates(domain, probes, reach, timeout_s)
        return [self._decide(probe, faces) for probe, faces in zip(probes, found, strict=True)]

    def _decide(self, probe: NDArray[np.float64], faces: Sequence[StoredFace]) -> FaceMatches:
        """Measure again in float64: pgvector's own distances are off from the seventh decimal on, or sooner."""
        if not faces:
            return ()
        distances = exact_distances(np.stack([face.embedding for face in faces]), probe)
        measured = zip(faces, distances.tolist(), strict=True)
        return rank_persons((Candidate(face.person, face.image, distance) for face, distance in measured), self._policy)
