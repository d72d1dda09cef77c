"""The PKL gallery's search, held to the plain definition: every row, measured in float64, one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain import Face, FaceBox, FloatArray
from app.errors import SpecMismatch, UnknownDomain
from app.gallery_matrix import GalleryMatrix, GalleryPart
from app.gallery_view import GalleryView
from app.services.matching import MatchPolicy
from app.services.recognition_service import RecognitionService

DIMENSIONS = 64


def confidence_of(distance: float, verified: bool) -> float:
    return round(100 - 49 * distance, 2) if verified else 0.0


def gallery(faces: Sequence[tuple[str, str]], embeddings: FloatArray) -> GalleryMatrix:
    return GalleryMatrix.of(faces, embeddings, np.zeros((len(faces), 4), np.int32))


def service(matrix: GalleryMatrix, threshold: float) -> RecognitionService:
    return RecognitionService(
        lambda _domain: matrix, lambda: frozenset({"serbia"}), MatchPolicy(threshold, confidence_of)
    )


def direction(angle: float) -> NDArray[np.float64]:
    """A vector whose cosine distance to `direction(0)` is 1 - cos(angle)."""
    return np.array([np.cos(angle), np.sin(angle)] + [0.0] * (DIMENSIONS - 2))


def rows_one_by_one(
    matrix: GalleryMatrix, probe: NDArray[np.float64], threshold: float
) -> list[tuple[float, str, str]]:
    """`DeepFace.find`'s loop."""
    found = []
    for row in range(len(matrix)):
        face = matrix.face(row)
        vector = face.embedding.astype(np.float64)
        distance = float(np.round(1 - vector @ probe / (np.linalg.norm(vector) * np.linalg.norm(probe)), 6))
        if distance <= threshold:
            found.append((distance, face.image, face.person))
    return sorted(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.3, 0.9, 1.0, 1.1, 2.0])
def test_every_row_within_the_threshold_is_found_and_no_other(dtype: type, threshold: float) -> None:
    random = np.random.default_rng(7)
    embeddings: FloatArray = (random.standard_normal((500, DIMENSIONS)) * random.uniform(0.1, 30, (500, 1))).astype(
        dtype
    )
    matrix = gallery([(f"P{row % 29}", f"P{row % 29}/{row}.jpg") for row in range(500)], embeddings)
    for probe in random.standard_normal((5, DIMENSIONS)) + embeddings[:5] / 3:
        found = service(matrix, threshold).rows_within_threshold("serbia", probe)
        assert [(m.distance, m.image, m.person) for m in found] == rows_one_by_one(matrix, probe, threshold)
        assert all(m.confidence == confidence_of(m.distance, True) for m in found)


@pytest.mark.parametrize("dimensions", [128, 512, 4096])
def test_a_row_exactly_at_the_threshold_is_found_whatever_float32_makes_of_it(dimensions: int) -> None:
    random = np.random.default_rng(dimensions)
    embeddings = random.standard_normal((200, dimensions)).astype(np.float32) * 20
    matrix = gallery([("P", f"{row:03}.jpg") for row in range(200)], embeddings)
    probe = random.standard_normal(dimensions)
    for distance, image, _ in rows_one_by_one(matrix, probe, 2.0)[::20]:
        found = service(matrix, threshold=distance).rows_within_threshold("serbia", probe)
        assert found[-1].distance == distance
        assert image in {match.image for match in found}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.3, 0.9, 2.0])
@pytest.mark.parametrize("persons", [3, 40])
def test_the_best_persons_are_those_of_all_rows_measured_though_few_are(
    dtype: type, threshold: float, persons: int
) -> None:
    """Crowds of images that differ by less than float32 can tell, some hidden, decide which row and person win."""
    random = np.random.default_rng(persons)
    near = random.standard_normal((persons, DIMENSIONS))
    noise = random.standard_normal((600, DIMENSIONS)) * 10.0 ** random.integers(-8, 0, (600, 1))
    embeddings: FloatArray = (near[np.arange(600) % persons] + noise).astype(dtype)
    matrix = gallery([(f"P{row % persons:02}", f"{row:03}.jpg") for row in range(600)], embeddings)
    part = GalleryPart(matrix, random.random(600) < 0.2)
    searched = RecognitionService(
        lambda _domain: GalleryView(part, None), frozenset, MatchPolicy(threshold, confidence_of)
    )
    assert part.hidden is not None
    visible = {matrix.image(row) for row in np.flatnonzero(~part.hidden).tolist()}

    for probe in near + random.standard_normal((persons, DIMENSIONS)) / 3:
        rows = [row for row in rows_one_by_one(matrix, probe, threshold) if row[1] in visible]
        [matches] = searched.search("serbia", probe[np.newaxis])
        assert [(m.distance, m.image, m.person) for m in matches] == best_of_persons(rows)


def best_of_persons(rows: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """The five best persons of these rows, which come best first, ties by image."""
    best: dict[str, tuple[float, str, str]] = {}
    for row in rows:
        best.setdefault(row[2], row)
    return sorted(best.values(), key=lambda row: (row[0], row[2]))[:5]


def test_persons_come_best_first_each_by_their_best_image() -> None:
    faces = [("Ana", "Ana/1.jpg"), ("Ana", "Ana/2.jpg"), ("Ivan", "Ivan/1.jpg"), ("Mira", "Mira/1.jpg")]
    matrix = gallery(faces, np.array([direction(a) for a in (0.4, 0.1, 0.2, 1.5)]))

    [matches] = service(matrix, 0.3).search("serbia", direction(0)[np.newaxis])

    assert [(m.person, m.image) for m in matches] == [("Ana", "Ana/2.jpg"), ("Ivan", "Ivan/1.jpg")]
    assert matches[0].distance == round(1 - np.cos(0.1), 6)


def test_thousands_of_images_of_one_person_leave_room_for_the_others() -> None:
    angles = [0.001] * 5000 + [0.1, 0.2, 0.3, 0.4, 0.5]
    faces = [("Ana", f"Ana/{row}.jpg") for row in range(5000)] + [(name, f"{name}/1.jpg") for name in "BCDEF"]
    matrix = gallery(faces, np.array([direction(angle) for angle in angles], np.float32))

    [matches] = service(matrix, 0.5).search("serbia", direction(0)[np.newaxis])

    assert [m.person for m in matches] == ["Ana", "B", "C", "D", "E"]


def test_equal_distances_are_ordered_by_person_and_image_however_many_there_are() -> None:
    names = ["Zoran", "Ana", "Mira", "Ivan", "Petar", "Bora", "Vera"]
    faces = [(name, f"{number}/{name}.jpg") for name in names for number in (2, 1)]
    matrix = gallery(faces, np.array([direction(0.2)] * len(faces)))

    [matches] = service(matrix, 0.5).search("serbia", direction(0)[np.newaxis])

    assert [(m.person, m.image) for m in matches] == [
        (name, f"1/{name}.jpg") for name in ("Ana", "Bora", "Ivan", "Mira", "Petar")
    ]


def test_one_person_in_a_folder_and_in_flat_files_is_one_person() -> None:
    faces = [("Ana Anic", "Ana Anic/1.jpg"), ("Ana Anic", "Ana_Anic_7.jpg")]
    matrix = gallery(faces, np.array([direction(0.3), direction(0.1)]))

    [matches] = service(matrix, 0.5).search("serbia", direction(0)[np.newaxis])

    assert [(m.person, m.image) for m in matches] == [("Ana Anic", "Ana_Anic_7.jpg")]


def test_several_probes_are_answered_in_their_order_as_if_asked_alone() -> None:
    random = np.random.default_rng(3)
    matrix = gallery([(f"P{r % 9}", f"{r}.jpg") for r in range(300)], random.standard_normal((300, DIMENSIONS)))
    probes = random.standard_normal((6, DIMENSIONS))
    searched = service(matrix, 0.9)

    together = searched.search("serbia", probes)

    assert together == [searched.search("serbia", probe[np.newaxis])[0] for probe in probes]
    assert len({matches[0].image for matches in together if matches}) > 1


def test_faces_are_recognised_in_the_order_given() -> None:
    matrix = gallery([("Ana", "a.jpg"), ("Ivan", "b.jpg")], np.array([direction(0), direction(1.5)]))
    boxes = [FaceBox(9, 9, 9, 9), FaceBox(1, 1, 90, 90), FaceBox(5, 5, 5, 5)]
    faces = [Face(box, direction(angle), 0.9) for box, angle in zip(boxes, (1.5, 0.0, 3.1), strict=True)]
    searched = service(matrix, 0.1)

    recognised = searched.recognize_faces(faces, "serbia")

    assert [face.box for face in recognised] == boxes
    assert [face.to_json()["name"] for face in recognised] == ["Ivan", "Ana", None]
    assert searched.recognize_faces([], "serbia") == []


@pytest.mark.parametrize("threshold", [0.3, 2.0])
def test_a_probe_without_a_direction_matches_nobody(threshold: float) -> None:
    matrix = gallery([("Ana", "a.jpg")], np.array([direction(0)], np.float32))
    probes = np.stack([np.zeros(DIMENSIONS), np.full(DIMENSIONS, np.nan), np.full(DIMENSIONS, np.inf), direction(0)])

    answers = service(matrix, threshold).search("serbia", probes)

    assert [len(matches) for matches in answers] == [0, 0, 0, 1]


def test_an_empty_gallery_knows_nobody() -> None:
    matrix = gallery([], np.empty((0, DIMENSIONS), np.float32))

    assert service(matrix, 0.3).search("serbia", np.ones((2, DIMENSIONS))) == [(), ()]


def test_a_probe_of_another_model_is_refused() -> None:
    matrix = gallery([("Ana", "a.jpg")], np.array([direction(0)]))

    with pytest.raises(SpecMismatch, match="128 dimensions, the gallery 64"):
        service(matrix, 0.3).search("serbia", np.ones((1, 128)))


def test_an_unknown_domain_is_reported_as_the_gallery_reports_it() -> None:
    def unknown(domain: str) -> GalleryMatrix:
        raise UnknownDomain(f"Domain '{domain}' has no PKL gallery.")

    searched = RecognitionService(unknown, lambda: frozenset({"serbia"}), MatchPolicy(0.3, confidence_of))

    assert searched.domains() == {"serbia"}
    with pytest.raises(UnknownDomain):
        searched.search("atlantis", np.ones((1, DIMENSIONS)))


def test_rows_keep_their_person_image_and_box_when_they_are_put_in_order() -> None:
    faces = [("Žaklina", "Ž/2.jpg"), ("Ana", "A/\udcff.jpg"), ("Žaklina", "Ž/1.jpg")]
    boxes = np.array([[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]], np.int32)

    matrix = GalleryMatrix.of(faces, np.array([direction(a) for a in (0.1, 0.2, 0.3)]), boxes)

    rows = [matrix.face(row) for row in range(len(matrix))]
    assert [(face.person, face.image, face.box.x) for face in rows] == [
        ("Ana", "A/\udcff.jpg", 2),
        ("Žaklina", "Ž/1.jpg", 3),
        ("Žaklina", "Ž/2.jpg", 1),
    ]
    assert [face.embedding.tolist() for face in rows] == [direction(a).tolist() for a in (0.2, 0.3, 0.1)]
