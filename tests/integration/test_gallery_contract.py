"""One contract, every gallery: what holds for the PKL gallery holds for pgvector and Milvus, to the sixth decimal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.snapshots import PklSnapshots
from app.adapters.pkl.writer import write_pkl
from app.adapters.postgres import Database
from app.domain import EmbeddingSpec, FaceBox, FaceMatches, GalleryFace
from app.errors import SpecMismatch, UnknownDomain
from app.services.gallery import Gallery
from app.services.matching import Candidate, MatchPolicy, exact_distances, rank_persons
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.recognition_service import RecognitionService
from app.services.vector_db_service import SearchOptions, VectorDbService
from tests.integration.galleries import tune_to_templates
from tests.integration.milvus_server import MilvusServer, mirrored

D = 16
DOMAIN = "contract"
SPEC = EmbeddingSpec(
    model="Dlib",
    weights_sha256="0" * 64,
    detector="dlib",
    align=True,
    normalization="base",
    expand_percentage=0,
    image_max_side=0,
    dimensions=D,
)
POLICY = MatchPolicy(threshold=0.3, confidence_of=lambda distance, verified: round(100 * (1 - distance), 2))
Fill = Callable[[Sequence[GalleryFace]], Gallery]


def face(person: str, embedding: Sequence[float] | NDArray[np.float64], image: str = "1.jpg") -> GalleryFace:
    return GalleryFace(person, f"{person}/{image}", FaceBox(1, 2, 30, 40), np.asarray(embedding, dtype=np.float32))


def axis(i: int, j: int | None = None, share: float = 0.0) -> NDArray[np.float64]:
    """A unit vector along axis i, turned towards axis j so that the cosine distance to axis i is `share`."""
    vector = np.zeros(D)
    vector[i] = 1.0 - share
    if j is not None:
        vector[j] = np.sqrt(1.0 - vector[i] ** 2)
    return vector


KINDS = ["pkl", "pgvector exact", "pgvector HNSW", "pgvector templates", "pgvector templates HNSW", "milvus"]


@pytest.fixture(params=KINDS)
def fill(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Makes a gallery of the kind under test that holds the given faces."""
    if request.param == "pkl":
        return lambda faces: pkl_gallery(tmp_path, faces)
    database: Database = request.getfixturevalue("migrated_database")
    if request.param == "milvus":
        milvus: MilvusServer = request.getfixturevalue("milvus")
        return lambda faces: milvus_gallery(milvus, database, faces)
    if "templates" in request.param:
        monkeypatch.setattr("app.services.search.plan.INDEXED_FROM", 0 if "HNSW" in request.param else 1_000)
        return lambda faces: tuned_gallery(database, faces)
    exact_max_rows = 1_000_000 if request.param == "pgvector exact" else 0
    return lambda faces: pgvector_gallery(database, faces, exact_max_rows)


def pkl_gallery(folder: Path, faces: Sequence[GalleryFace]) -> Gallery:
    (folder / "galleries" / DOMAIN).mkdir(parents=True)
    root = folder / "galleries" / DOMAIN
    write_pkl(root / pkl_names(SPEC)[0], faces, root)
    snapshots = PklSnapshots(folder / "galleries", folder / "cache", SPEC, {})
    return RecognitionService(snapshots.current, snapshots.domains, POLICY)


def pgvector_gallery(database: Database, faces: Sequence[GalleryFace], exact_max_rows: int) -> Gallery:
    vector_db = VectorDbService(database, SPEC, SearchOptions(ef_search=200, exact_max_rows=exact_max_rows))
    vector_db.add_faces(DOMAIN, faces)
    vector_db.ensure_index(DOMAIN)
    return PgVectorRecognitionService(vector_db, POLICY, timeout_s=10)


def tuned_gallery(database: Database, faces: Sequence[GalleryFace]) -> Gallery:
    vector_db = VectorDbService(database, SPEC)
    vector_db.add_faces(DOMAIN, faces)
    tune_to_templates(database, SPEC, DOMAIN, POLICY.threshold)
    return PgVectorRecognitionService(VectorDbService(database, SPEC), POLICY, timeout_s=10)


def milvus_gallery(server: MilvusServer, database: Database, faces: Sequence[GalleryFace]) -> Gallery:
    parts = mirrored(server, database, SPEC)
    parts.vector_db.add_faces(DOMAIN, faces)
    parts.copy()
    return PgVectorRecognitionService(parts.gallery, POLICY, timeout_s=10)


def search(gallery: Gallery, *probes: NDArray[np.float64]) -> list[FaceMatches]:
    return gallery.search(DOMAIN, np.stack(probes))


def expected(faces: Sequence[GalleryFace], probe: NDArray[np.float64]) -> FaceMatches:
    distances = exact_distances(np.stack([f.embedding for f in faces]), probe)
    candidates = [Candidate(f.person, f.image, float(d)) for f, d in zip(faces, distances, strict=True)]
    return rank_persons(candidates, POLICY)


def test_an_enrolled_face_is_found_at_distance_zero(fill: Fill) -> None:
    ((match,),) = search(fill([face("Ana", axis(0)), face("Bojan", axis(1))]), axis(0))
    assert (match.person, match.image, match.distance, match.similarity) == ("Ana", "Ana/1.jpg", 0.0, 1.0)
    assert match.confidence == 100.0


def test_the_length_of_a_vector_does_not_matter(fill: Fill) -> None:
    ((match,),) = search(fill([face("Ana", 250.0 * axis(0))]), 0.01 * axis(0))
    assert match.distance == 0.0


def test_several_probes_are_answered_in_their_order(fill: Fill) -> None:
    gallery = fill([face("Ana", axis(0)), face("Bojan", axis(1))])
    answers = search(gallery, axis(1), axis(2), axis(0))
    assert [[m.person for m in matches] for matches in answers] == [["Bojan"], [], ["Ana"]]


def test_nobody_beyond_the_threshold_is_named(fill: Fill) -> None:
    assert search(fill([face("Ana", axis(0, 1, share=0.31))]), axis(0)) == [()]


def test_the_threshold_belongs_to_the_match_after_rounding_to_six_places(fill: Fill) -> None:
    gallery = fill([face("Ana", axis(0, 1, share=0.3000004)), face("Bojan", axis(0, 2, share=0.3000012))])
    ((match,),) = search(gallery, axis(0))
    assert (match.person, match.distance) == ("Ana", 0.3)


def test_five_persons_are_found_behind_a_crowd_of_images_of_one(fill: Fill) -> None:
    rng = np.random.default_rng(1)
    crowd = [face("Ana", axis(0) + rng.normal(0, 0.02, D), f"{i}.jpg") for i in range(600)]
    others = [face(f"Person {i}", axis(0, i, share=0.1 + i / 100)) for i in range(1, 8)]
    (matches,) = search(fill(crowd + others), axis(0))
    assert [m.person for m in matches] == ["Ana", "Person 1", "Person 2", "Person 3", "Person 4"]
    assert matches == expected(crowd + others, axis(0))


def test_each_person_is_answered_by_the_best_of_their_images(fill: Fill) -> None:
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(12, D))
    faces = [
        face(f"Person {p:02}", centres[p] + rng.normal(0, 0.5, D), f"{i}.jpg") for p in range(12) for i in range(25)
    ]
    gallery = fill(faces)
    probes = [centre + rng.normal(0, 0.4, D) for centre in centres]
    assert search(gallery, *probes) == [expected(faces, probe) for probe in probes]


def test_equal_distances_are_ordered_by_person_and_an_equal_image_by_path(fill: Fill) -> None:
    faces = [face(name, axis(0), image) for name in ("Ceca", "Ana", "Bojan") for image in ("2.jpg", "1.jpg")]
    (matches,) = search(fill(faces), axis(0))
    assert [m.image for m in matches] == ["Ana/1.jpg", "Bojan/1.jpg", "Ceca/1.jpg"]


def test_more_persons_at_one_distance_than_fit_are_cut_by_name(fill: Fill) -> None:
    faces = [face(f"Person {i:02}", axis(0)) for i in reversed(range(40))]
    (matches,) = search(fill(faces), axis(0))
    assert [m.person for m in matches] == [f"Person {i:02}" for i in range(5)]


def test_two_faces_of_one_image_are_two_rows(fill: Fill) -> None:
    first = face("Ana", axis(0), "group.jpg")
    second = replace(first, box=FaceBox(100, 2, 30, 40), embedding=axis(1).astype(np.float32))
    answers = search(fill([first, second]), axis(0), axis(1))
    assert [matches[0].distance for matches in answers] == [0.0, 0.0]


def test_names_of_every_script_and_with_quotes_come_back_as_they_were(fill: Fill) -> None:
    names = ["Đorđe Šćepanović", "O'Brien; DROP TABLE persons; --", '"); --', "王小明", "Ana Maria %s {0} ?"]
    gallery = fill([face(name, axis(i), "a b'c.jpg") for i, name in enumerate(names)])
    answers = search(gallery, *[axis(i) for i in range(len(names))])
    assert [matches[0].person for matches in answers] == names
    assert [matches[0].image for matches in answers] == [f"{name}/a b'c.jpg" for name in names]


def test_a_domain_that_does_not_exist_is_unknown(fill: Fill) -> None:
    gallery = fill([face("Ana", axis(0))])
    assert gallery.domains() >= {DOMAIN}
    for name in ("atlantis", "../contract", "contract'; --", ""):
        with pytest.raises(UnknownDomain):
            gallery.search(name, axis(0)[np.newaxis])


def test_a_probe_of_another_length_is_refused(fill: Fill) -> None:
    with pytest.raises(SpecMismatch):
        fill([face("Ana", axis(0))]).search(DOMAIN, np.ones((1, D + 1)))


@pytest.mark.parametrize("number", [0.0, np.nan, np.inf])
def test_a_probe_without_a_direction_matches_nobody(fill: Fill, number: float) -> None:
    gallery = fill([face("Ana", axis(0))])
    answers = search(gallery, np.full(D, number), axis(0))
    assert [len(matches) for matches in answers] == [0, 1]
