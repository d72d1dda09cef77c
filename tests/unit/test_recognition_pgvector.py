"""What PgVectorRecognitionService makes of the candidates that the database hands it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain import Face, FaceBox
from app.errors import UnknownDomain
from app.services.matching import MatchPolicy
from app.services.person_search import StoredFace
from app.services.recognition_pgvector import PgVectorRecognitionService

POLICY = MatchPolicy(threshold=0.3, confidence_of=lambda distance, verified: 100 * (1 - distance))


@dataclass
class FakeVectorDb:
    """Hands every probe the same candidates and notes what it was asked."""

    faces: list[StoredFace]
    asked: list[tuple[str, float, float]] = field(default_factory=list)

    def domains(self) -> frozenset[str]:
        return frozenset({"serbia"})

    def candidates(
        self, domain: str, probes: NDArray[np.float64], max_distance: float, timeout_s: float
    ) -> list[list[StoredFace]]:
        self.asked.append((domain, max_distance, timeout_s))
        if domain != "serbia":
            raise UnknownDomain("no such domain")
        return [self.faces if probe.any() else [] for probe in probes]


def stored(person: str, distance: float, image: str = "1.jpg") -> StoredFace:
    """A face at this cosine distance from the first axis."""
    cosine = 1.0 - distance
    embedding = np.array([cosine, np.sqrt(1.0 - cosine**2)], dtype=np.float32)
    return StoredFace(person, f"{person}/{image}", embedding)


def gallery(*faces: StoredFace) -> tuple[PgVectorRecognitionService, FakeVectorDb]:
    vector_db = FakeVectorDb(list(faces))
    return PgVectorRecognitionService(vector_db, POLICY, timeout_s=5.0), vector_db  # type: ignore[arg-type]


def probe(x: float = 0.0, first: float = 1.0) -> Face:
    return Face(FaceBox(int(x), 0, 50, 50), np.array([first, 0.0]), 0.9)


def test_each_person_appears_once_by_their_best_image_and_best_first() -> None:
    service, _ = gallery(stored("Ana", 0.2), stored("Bojan", 0.1, "2.jpg"), stored("Bojan", 0.05, "3.jpg"))
    (matches,) = service.search("serbia", np.array([[1.0, 0.0]]))
    assert [(m.person, m.image, round(m.distance, 5)) for m in matches] == [
        ("Bojan", "Bojan/3.jpg", 0.05),
        ("Ana", "Ana/1.jpg", 0.2),
    ]


def test_candidates_beyond_the_threshold_are_not_matches() -> None:
    service, vector_db = gallery(stored("Ana", 0.300002))
    assert service.search("serbia", np.array([[1.0, 0.0]])) == [()]
    assert vector_db.asked[0][1] >= 0.3000005, "what rounds onto the threshold must be asked for"


def test_faces_keep_their_order_and_boxes() -> None:
    service, _ = gallery(stored("Ana", 0.1))
    answer = service.recognize_face_pgvector([probe(7), probe(8, first=0.0), probe(9)], "serbia")
    assert [(face.box.x, len(face.matches)) for face in answer] == [(7, 1), (8, 0), (9, 1)]


@pytest.mark.parametrize(("given", "used"), [(None, 5.0), (0.5, 0.5)])
def test_the_callers_time_limit_goes_before_the_default(given: float | None, used: float) -> None:
    service, vector_db = gallery()
    service.recognize_face_pgvector([probe()], "serbia", timeout_s=given)
    assert [timeout_s for _, _, timeout_s in vector_db.asked] == [used]


def test_a_photo_without_faces_asks_the_database_nothing() -> None:
    service, vector_db = gallery()
    assert service.recognize_face_pgvector([], "serbia") == []
    assert vector_db.asked == []


def test_an_unknown_domain_is_passed_on() -> None:
    service, _ = gallery()
    assert service.domains() == {"serbia"}
    with pytest.raises(UnknownDomain):
        service.search("atlantis", np.array([[1.0, 0.0]]))
