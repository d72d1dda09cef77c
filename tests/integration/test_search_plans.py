"""A tuned domain: it is searched faster, finds the same persons, and nothing that happens after the tuning is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from app.adapters.postgres import Database
from app.domain import FaceMatches, GalleryFace
from app.errors import BadRequest, Conflict, StoreTimeout, UnknownDomain
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.search.gallery_reader import settled_mark
from app.services.search.plan import Strategy
from app.services.search.plan_store import PlanStore
from app.services.search.tuning import SearchTuner, TuningRequest
from app.services.vector_db_service import SearchOptions, VectorDbService
from tests.integration.galleries import BOX, MadeUpGallery, make_up, policy_of, spec_of, tune_to_templates

SPEC, SMALL = spec_of(128), spec_of(4)
THRESHOLD = 0.3
SHAPES = {
    "crowd": make_up([150] * 29, seed=1),
    "town": make_up([5] * 600, seed=3, probes=80),
    "hamlet": make_up([3] * 4),
}


@pytest.fixture(scope="module")
def tuned(make_database: Callable[..., Database]) -> Iterator[Database]:
    """Domains of several shapes, searched through templates; those of the town have an index."""
    database = make_database()
    patch = pytest.MonkeyPatch()
    patch.setattr("app.services.search.plan.INDEXED_FROM", 100)
    for domain, gallery in SHAPES.items():
        VectorDbService(database, SPEC).add_faces(domain, gallery.faces)
        tune_to_templates(database, SPEC, domain, THRESHOLD, probes=150)
    yield database
    patch.undo()
    database.close()


@pytest.fixture
def village(migrated_database: Database) -> Database:
    """Four persons of a few images, tuned."""
    faces = [
        face("Ana", 1, 0, 0, 0),
        face("Ana", 1, 0.1, 0, 0, n=2),
        face("Bojan", 0, 1, 0, 0),
        face("Ceca", 0, 0, 1, 0),
    ]
    VectorDbService(migrated_database, SMALL).add_faces("serbia", faces)
    tune_to_templates(migrated_database, SMALL, "serbia", THRESHOLD)
    return migrated_database


def face(person: str, *embedding: float, n: int = 1) -> GalleryFace:
    return GalleryFace(person, f"{person}/{n}.jpg", BOX, np.asarray(embedding, dtype=np.float32))


def search(database: Database, domain: str, threshold: float = THRESHOLD) -> list[FaceMatches]:
    service = PgVectorRecognitionService(VectorDbService(database, SPEC), policy_of(threshold), timeout_s=60)
    return service.search(domain, SHAPES[domain].probes)


def names(database: Database, *probe: float, service: VectorDbService | None = None) -> list[str]:
    found = PgVectorRecognitionService(service or VectorDbService(database, SMALL), policy_of(THRESHOLD), timeout_s=10)
    (matches,) = found.search("serbia", np.asarray([probe], dtype=np.float64))
    return [match.person for match in matches]


def execute(database: Database, statement: str, **parameters: object) -> None:
    with database.transaction(10) as cursor:
        cursor.execute(statement, parameters)


def count(database: Database, what: str) -> int:
    with database.transaction(10, read_only=True) as cursor:
        cursor.execute(f"SELECT count(*) FROM {what}")
        ((number,),) = cursor.fetchall()
    return int(number)


# --- what is found


@pytest.mark.parametrize("domain", SHAPES)
def test_a_tuned_domain_answers_as_measuring_everything_does(tuned: Database, domain: str) -> None:
    answers, expected = search(tuned, domain), SHAPES[domain].answers(policy_of(THRESHOLD))
    assert [found[:1] for found in answers] == [right[:1] for right in expected]
    assert sum(found == right for found, right in zip(answers, expected, strict=True)) >= 0.97 * len(expected)
    assert VectorDbService(tuned, SPEC).plan_of(domain, THRESHOLD).strategy is Strategy.TEMPLATES


def test_a_plan_holds_for_a_stricter_threshold_and_not_for_a_wider_one(tuned: Database) -> None:
    service = VectorDbService(tuned, SPEC)
    assert service.plan_of("town", 0.1).plan_id
    assert not service.plan_of("town", 0.5).plan_id
    for threshold in (0.1, 0.5):
        assert search(tuned, "hamlet", threshold) == SHAPES["hamlet"].answers(policy_of(threshold))


def test_a_misfiled_image_is_found_under_the_name_it_is_filed(village: Database) -> None:
    VectorDbService(village, SMALL).add_faces("serbia", [face("Bojan", 0, 0, 0, 1, n=9)])
    tune_to_templates(village, SMALL, "serbia", THRESHOLD)
    assert names(village, 0, 0, 0, 1) == ["Bojan"]
    assert count(village, "face_embeddings WHERE revision > (SELECT max(covered_up_to) FROM search_plans)") == 0


def test_a_probe_that_finds_nobody_is_searched_once_more_where_that_is_set(village: Database) -> None:
    execute(village, "UPDATE search_plans SET max_template_distance = -1")
    assert names(village, 1, 0.3, 0, 0) == []
    again = VectorDbService(village, SMALL, SearchOptions(retry_ef_search=400))
    assert names(village, 1, 0.3, 0, 0, service=again) == ["Ana"]


# --- what happens after the tuning


def test_a_person_who_is_added_is_found_before_the_next_tuning(village: Database) -> None:
    service = VectorDbService(village, SMALL)
    assert names(village, 0, 0, 0, 1, service=service) == []
    service.add_faces("serbia", [face("Dana", 0, 0, 0, 1)])
    assert names(village, 0, 0, 0, 1, service=service) == ["Dana"]


def test_a_face_that_changed_is_found_as_it_is_now(village: Database) -> None:
    VectorDbService(village, SMALL).add_faces("serbia", [face("Ceca", 0, 0, 0, 1)])
    assert names(village, 0, 0, 0, 1) == ["Ceca"]
    assert names(village, 0, 0, 1, 0) == []


def test_a_face_that_was_handed_to_somebody_else_is_found_there(village: Database) -> None:
    of_bojan = "(SELECT id FROM persons WHERE name = 'Bojan')"
    execute(village, f"UPDATE face_embeddings SET person_id = {of_bojan} WHERE image = 'Ceca/1.jpg'")
    execute(village, "DELETE FROM persons WHERE name = 'Ceca'")
    assert names(village, 0, 0, 1, 0) == ["Bojan"]


def test_a_face_whose_file_was_renamed_is_the_same_evidence(village: Database) -> None:
    before = count(village, "face_embeddings WHERE revision <= 4")
    execute(village, "UPDATE face_embeddings SET image = image || '.png'")
    assert count(village, "face_embeddings WHERE revision <= 4") == before == 4
    assert names(village, 1, 0, 0, 0) == ["Ana"]


def test_the_templates_of_a_deleted_person_are_gone_at_once(village: Database) -> None:
    before = count(village, "person_templates")
    execute(village, "DELETE FROM persons WHERE name = 'Ceca'")
    assert count(village, "person_templates") == before - 1
    assert names(village, 0, 0, 1, 0) == []


def test_a_plan_that_vanishes_under_a_service_that_knows_it_costs_time_and_no_person(village: Database) -> None:
    service = VectorDbService(village, SMALL)
    assert names(village, 1, 0, 0, 0, service=service) == ["Ana"]
    execute(village, "DELETE FROM search_plans")
    assert service.plan_of("serbia", THRESHOLD).plan_id, "it does not know yet"
    assert names(village, 1, 0, 0, 0, service=service) == ["Ana"]
    assert names(village, 0, 0, 1, 0, service=service) == ["Ceca"]


def test_an_index_over_images_that_was_dropped_is_not_missed(village: Database) -> None:
    execute(village, "UPDATE search_plans SET strategy = 'images', ef_search = 100")
    assert VectorDbService(village, SMALL).plan_of("serbia", THRESHOLD).strategy is Strategy.WHOLE
    assert names(village, 0, 1, 0, 0) == ["Bojan"]


# --- tuning


def test_the_fastest_way_that_reaches_the_targets_is_taken_and_told(migrated_database: Database) -> None:
    VectorDbService(migrated_database, SPEC).add_faces("hamlet", SHAPES["hamlet"].faces)
    outcome = SearchTuner(migrated_database, SPEC, THRESHOLD).tune("hamlet", TuningRequest(probes=30))
    assert outcome.met
    good = [trial.measured.search_mean_ms for trial in outcome.trials if trial.measured.met]
    assert outcome.best.measured.search_mean_ms == min(good)
    assert outcome.plan.plan_id
    assert VectorDbService(migrated_database, SPEC).plan_of("hamlet", THRESHOLD).strategy is outcome.plan.strategy


def test_tuning_again_replaces_the_plan_and_leaves_nothing_of_the_old_one(village: Database) -> None:
    old = VectorDbService(village, SMALL).plan_of("serbia", THRESHOLD).plan_id
    VectorDbService(village, SMALL).add_faces("serbia", [face("Dana", 0, 0, 0, 1)])
    new = tune_to_templates(village, SMALL, "serbia", THRESHOLD).plan.plan_id
    assert new > old
    assert count(village, "search_plans") == 1
    assert count(village, f"person_templates WHERE plan_id <> {new}") == 0
    assert names(village, 0, 0, 0, 1) == ["Dana"]


def test_a_dry_run_leaves_the_plan_in_use(village: Database) -> None:
    before = VectorDbService(village, SMALL).plan_of("serbia", THRESHOLD)
    SearchTuner(village, SMALL, THRESHOLD).tune("serbia", TuningRequest(probes=10, dry_run=True))
    assert VectorDbService(village, SMALL).plan_of("serbia", THRESHOLD) == before
    assert count(village, "search_plans") == 1


def test_what_an_interrupted_tuning_left_is_removed_by_the_next(village: Database) -> None:
    execute(
        village,
        "INSERT INTO search_plans (domain, spec_id, strategy, ef_search, max_distance, max_template_distance,"
        " covered_up_to, faces, persons, templates) SELECT domain, spec_id, 'templates', 1, 1, 1, 1, 1, 1, 1"
        " FROM search_plans",
    )
    tune_to_templates(village, SMALL, "serbia", THRESHOLD)
    assert count(village, "search_plans") == 1


def test_a_transaction_in_flight_is_waited_for_and_its_faces_are_covered(village: Database) -> None:
    outcomes = []
    tuning = threading.Thread(
        target=lambda: outcomes.append(tune_to_templates(village, SMALL, "serbia", THRESHOLD)), daemon=True
    )
    with village.transaction(30) as cursor:
        columns = "person_id, person_domain, spec_id"
        cursor.execute(
            f"INSERT INTO face_embeddings ({columns}, image, box_x, box_y, box_w, box_h, embedding)"
            f" SELECT {columns}, 'late.jpg', 1, 1, 1, 1, '[0,0,0,1]' FROM face_embeddings LIMIT 1"
        )
        tuning.start()
        time.sleep(0.5)
        assert not outcomes
    tuning.join(30)
    (outcome,) = outcomes
    assert outcome.plan.faces == 5
    assert names(village, 0, 0, 0, 1) == ["Ana"]


def test_a_transaction_that_does_not_end_is_told_of(village: Database) -> None:
    with village.transaction(30) as cursor:
        cursor.execute("DELETE FROM face_embeddings WHERE image = 'nobody'")
        with pytest.raises(StoreTimeout, match="run the command again"):
            settled_mark(village, wait_s=0.2)


def test_a_domain_is_tuned_by_one_at_a_time(village: Database) -> None:
    with PlanStore(village).alone("serbia", 1), pytest.raises(Conflict, match="tuning"):
        tune_to_templates(village, SMALL, "serbia", THRESHOLD)


def test_what_cannot_be_tuned_is_refused_with_a_reason(village: Database) -> None:
    with pytest.raises(UnknownDomain):
        tune_to_templates(village, SMALL, "atlantis", THRESHOLD)
    tuner = SearchTuner(village, SMALL, THRESHOLD)
    with pytest.raises(BadRequest, match="index"):
        tuner.tune("serbia", TuningRequest(probes=5, strategies=(Strategy.IMAGES,)))
    assert names(village, 1, 0, 0, 0) == ["Ana"]


def test_persons_without_a_second_image_can_be_tuned(migrated_database: Database) -> None:
    alone = MadeUpGallery([replace(f, person=f.image) for f in SHAPES["hamlet"].faces], SHAPES["hamlet"].probes)
    VectorDbService(migrated_database, SPEC).add_faces("hamlet", alone.faces)
    assert tune_to_templates(migrated_database, SPEC, "hamlet", THRESHOLD).plan.templates == len(alone.faces)
    assert search(migrated_database, "hamlet") == alone.answers(policy_of(THRESHOLD))


# --- health


def test_the_report_tells_how_a_domain_is_searched_and_what_came_since(village: Database) -> None:
    service = VectorDbService(village, SMALL)
    service.add_faces("serbia", [face("Dana", 0, 0, 0, 1)])
    service.add_faces("slovenia", [face("Eva", 0, 0, 0, 1)])
    plans = service.plan_health(service.counts())
    tuned = plans["serbia"].to_document()
    assert (tuned["strategy"], tuned["fresh_faces"], tuned["tuning_advised"]) == ("templates", 1, False)
    assert 0.0 <= tuned["recall_top1"][1] <= tuned["recall_top1"][0] <= tuned["recall_top1"][2] <= 1.0
    assert tuned["age_days"] == 0.0
    assert plans["slovenia"].to_document() == {"strategy": "untuned", "tuning_advised": False}


def test_tuning_is_advised_where_much_came_since(village: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.search.plan_health._SMALL", 1)
    service = VectorDbService(village, SMALL)
    service.add_faces("serbia", [face("Dana", 0, 0, 0, 1), face("Eva", 0, 0, 1, 1)])
    service.add_faces("slovenia", [face("Filip", 0, 0, 0, 1), face("Goran", 0, 0, 1, 1)])
    plans = service.plan_health(service.counts())
    assert plans["serbia"].tuning_advised
    assert plans["slovenia"].tuning_advised
