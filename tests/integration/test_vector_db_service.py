"""The galleries in a real Postgres: what is found, what is stored, and how domains and specs live side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from app.adapters.postgres import Database
from app.domain import FaceBox, FaceMatches, GalleryFace
from app.errors import BadRequest, SpecMismatch, StartupError, UnknownDomain
from app.services import vector_db_sql as sql
from app.services.gallery_holdings import index_name
from app.services.person_search import Target
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.search.plan import SearchPlan, Strategy
from app.services.search.ways import explanation, settings_of
from app.services.vector_db_service import AddReport, GalleryCount, VectorDbService
from tests.integration.galleries import BOX, MadeUpGallery, make_up, policy_of, spec_of

SPEC = spec_of(128)
SMALL = spec_of(4)
THRESHOLDS = [0.07, 0.3, 0.95]  # Dlib's own; persons who look alike; nearly everybody

BIG = {
    "crowd": make_up([1000] * 29, seed=1),  # few persons, a thousand images each
    "village": make_up([5] * 10, seed=2),  # beside them, in the same table
    "city": make_up([2000] + [8] * 1500, seed=3, probes=120),  # many persons, and one whom everybody photographs
}


@pytest.fixture(scope="module")
def big_database(make_database: Callable[..., Database]) -> Iterator[Database]:
    database = make_database()
    service = VectorDbService(database, SPEC)
    for domain, gallery in BIG.items():
        service.add_faces(domain, gallery.faces)
        service.ensure_index(domain)
    yield database
    database.close()


@pytest.fixture
def service(migrated_database: Database) -> VectorDbService:
    return VectorDbService(migrated_database, SMALL)


def found(database: Database, domain: str, threshold: float) -> list[FaceMatches]:
    vector_db = VectorDbService(database, SPEC)
    return PgVectorRecognitionService(vector_db, policy_of(threshold), timeout_s=60).search(domain, BIG[domain].probes)


def face(person: str, *embedding: float, image: str | None = None) -> GalleryFace:
    return GalleryFace(person, image or f"{person}/1.jpg", BOX, np.asarray(embedding, dtype=np.float32))


def persons_found(service: VectorDbService, domain: str, *probe: float) -> list[str]:
    gallery = PgVectorRecognitionService(service, policy_of(0.3), timeout_s=10)
    ((*matches,),) = gallery.search(domain, np.asarray([probe], dtype=np.float64))
    return [match.person for match in matches]


# --- what is found


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("domain", ["crowd", "village"])
def test_a_search_gives_what_measuring_everything_gives(big_database: Database, domain: str, threshold: float) -> None:
    assert found(big_database, domain, threshold) == BIG[domain].answers(policy_of(threshold))


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_among_many_persons_the_index_gives_nearly_always_the_exact_answer(
    big_database: Database, threshold: float
) -> None:
    answers, expected = found(big_database, "city", threshold), BIG["city"].answers(policy_of(threshold))
    equal = sum(answer == right for answer, right in zip(answers, expected, strict=True))
    assert equal >= 0.97 * len(expected)
    assert [bool(answer) for answer in answers] == [bool(right) for right in expected]


def test_a_person_whose_images_fill_the_index_does_not_hide_the_others(big_database: Database) -> None:
    president = np.mean([f.embedding for f in BIG["city"].faces[:500]], axis=0, dtype=np.float64)
    gallery = MadeUpGallery(BIG["city"].faces, president[np.newaxis])
    service = PgVectorRecognitionService(VectorDbService(big_database, SPEC), policy_of(0.9), timeout_s=60)
    (matches,) = service.search("city", gallery.probes)
    assert len(matches) == 5
    assert [matches] == gallery.answers(policy_of(0.9))


@pytest.mark.parametrize("domain", ["crowd", "city"])
def test_the_walk_is_planned_over_the_index_of_its_domain(big_database: Database, domain: str) -> None:
    walk = SearchPlan(0, Strategy.IMAGES, 200, max_distance=0.07)
    with big_database.transaction(10, settings=settings_of(walk)) as cursor:
        cursor.execute(sql.SPEC_ID, {"key": SPEC.key})
        ((spec_id,),) = cursor.fetchall()
        cursor.execute(*explanation(Target(domain, spec_id, BIG[domain].probes[0], 0.07), walk))
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert f"Index Scan using {index_name(domain, SPEC.key)}" in plan


def test_a_domain_without_an_index_is_searched_all_the_same(service: VectorDbService) -> None:
    service.add_faces("slovenia", [face("Ana", 1, 0, 0, 0), face("Bojan", 0, 1, 0, 0)])
    assert persons_found(service, "slovenia", 0, 1, 0, 0) == ["Bojan"]


def test_a_domain_is_searched_alone(service: VectorDbService) -> None:
    service.add_faces("slovenia", [face("Ana", 1, 0, 0, 0)])
    service.add_faces("serbia", [face("Ana iz Niša", 1, 0, 0, 0)])
    assert persons_found(service, "serbia", 1, 0, 0, 0) == ["Ana iz Niša"]


def test_a_domain_that_a_script_adds_is_found_within_seconds(
    migrated_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, script = VectorDbService(migrated_database, SMALL), VectorDbService(migrated_database, SMALL)
    assert web.domains() == frozenset()
    script.add_faces("serbia", [face("Ana", 1, 0, 0, 0)])
    with pytest.raises(UnknownDomain):
        persons_found(web, "serbia", 1, 0, 0, 0)
    monkeypatch.setattr("app.services.vector_db_service._FRESH_S", 0.0)  # as if the seconds had passed
    assert persons_found(web, "serbia", 1, 0, 0, 0) == ["Ana"]


# --- what is stored


def test_adding_the_same_faces_twice_changes_nothing(service: VectorDbService) -> None:
    faces = [face("Ana", 1, 0, 0, 0), face("Bojan", 0, 1, 0, 0)]
    assert service.add_faces("serbia", faces) == AddReport(inserted=2, updated=0, unchanged=0, left_out=0)
    assert service.add_faces("serbia", faces) == AddReport(inserted=0, updated=0, unchanged=2, left_out=0)
    assert service.counts() == {"serbia": GalleryCount(persons=2, embeddings=2)}


def test_a_face_that_changed_replaces_the_old_one(service: VectorDbService) -> None:
    service.add_faces("serbia", [face("Ana", 1, 0, 0, 0)])
    changed = [face("Ana", 0, 0, 1, 0), face("Ana", 0, 0, 1, 0)]
    assert service.add_faces("serbia", changed) == AddReport(inserted=0, updated=1, unchanged=0, left_out=1)
    assert persons_found(service, "serbia", 1, 0, 0, 0) == []
    assert persons_found(service, "serbia", 0, 0, 1, 0) == ["Ana"]


def test_an_image_that_is_filed_anew_belongs_to_the_new_person_only(service: VectorDbService) -> None:
    service.add_faces("serbia", [face("Ana", 1, 0, 0, 0, image="1.jpg")])
    service.add_faces("serbia", [face("Bojan", 1, 0, 0, 0, image="1.jpg")])
    assert persons_found(service, "serbia", 1, 0, 0, 0) == ["Bojan"]


def test_faces_that_cannot_be_stored_are_counted_and_left_out(service: VectorDbService) -> None:
    bad = [
        face("Zero", 0, 0, 0, 0),
        face("Not a number", np.nan, 0, 0, 0),
        face("Huge", 1e30, 0, 0, 0),
        face("Tiny", 1e-30, 0, 0, 0),
        face("Null\0byte", 1, 0, 0, 0),
        face("Latin-1 \udce8", 1, 0, 0, 0),
    ]
    report = service.add_faces("serbia", [*bad, face("Ana", 1, 0, 0, 0)])
    assert report == AddReport(inserted=1, updated=0, unchanged=0, left_out=len(bad))
    assert service.counts() == {"serbia": GalleryCount(persons=1, embeddings=1)}


def test_nothing_is_added_when_one_face_is_of_another_model(service: VectorDbService) -> None:
    with pytest.raises(SpecMismatch, match=r"5 numbers .* 4"):
        service.add_faces("serbia", [face("Ana", 1, 0, 0, 0), face("Bojan", 1, 0, 0, 0, 0)])
    assert service.counts() == {}


@pytest.mark.parametrize(
    "text", ["x'; DROP TABLE persons; --", '"', "%s %(name)s {0} \\", "Đorđe\nŠćepanović", "王小明"]
)
def test_names_and_paths_are_stored_as_they_are(service: VectorDbService, text: str) -> None:
    service.add_faces("serbia", [face(text, 1, 0, 0, 0, image=f"{text}/{text}.jpg")])
    assert persons_found(service, "serbia", 1, 0, 0, 0) == [text]


@pytest.mark.parametrize("domain", ["x'; DROP TABLE persons; --", "", "../serbia", "a" * 64])
def test_what_cannot_be_a_domain_is_refused_and_never_found(service: VectorDbService, domain: str) -> None:
    with pytest.raises(BadRequest):
        service.add_faces(domain, [face("Ana", 1, 0, 0, 0)])
    with pytest.raises(BadRequest):
        service.ensure_index(domain)
    with pytest.raises(UnknownDomain):
        persons_found(service, domain, 1, 0, 0, 0)


# --- specs


def test_a_second_spec_lives_in_the_same_database_and_domain(migrated_database: Database) -> None:
    other_spec = spec_of(3, model="ArcFace")
    dlib, arcface = VectorDbService(migrated_database, SMALL), VectorDbService(migrated_database, other_spec)
    dlib.add_faces("serbia", [face("Ana", 1, 0, 0, 0)])
    arcface.add_faces("serbia", [face("Bojan", 1, 0, 0)])
    for service in (dlib, arcface):
        service.ensure_index("serbia")
        service.require_spec()
    assert persons_found(dlib, "serbia", 1, 0, 0, 0) == ["Ana"]
    assert persons_found(arcface, "serbia", 1, 0, 0) == ["Bojan"]


def test_a_domain_of_another_spec_is_refused_with_what_differs(migrated_database: Database) -> None:
    VectorDbService(migrated_database, SMALL).add_faces("serbia", [face("Ana", 1, 0, 0, 0)])
    service = VectorDbService(migrated_database, replace(SMALL, detector="mtcnn"))
    assert service.domains() == frozenset()
    for refused in (service.require_spec, lambda: persons_found(service, "serbia", 1, 0, 0, 0)):
        with pytest.raises(SpecMismatch, match=r"serbia.*detector: dlib there, mtcnn here.*FACE_"):
            refused()


def test_a_model_with_more_numbers_than_pgvector_indexes_is_refused_with_that_reason(
    migrated_database: Database,
) -> None:
    service = VectorDbService(migrated_database, spec_of(4096, model="VGG-Face"))
    with pytest.raises(StartupError, match=r"VGG-Face makes 4096 numbers.*at most 2000"):
        service.ensure_index("serbia")


def test_two_faces_of_one_image_are_two_faces(service: VectorDbService) -> None:
    left = face("Ana", 1, 0, 0, 0, image="both.jpg")
    right = replace(left, person="Bojan", box=FaceBox(300, 20, 110, 120), embedding=np.array([0.0, 1, 0, 0]))
    assert service.add_faces("serbia", [left, right]).inserted == 2
    assert persons_found(service, "serbia", 0, 1, 0, 0) == ["Bojan"]
