"""Each cause of a difference, produced for real between a PKL and a Postgres, is found by looking, and none other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.adapters.postgres import Database
from app.domain import FaceBox, GalleryFace
from app.services.matching import exact_distances
from app.services.vector_db_service import SearchOptions
from tests.integration.galleries import make_up, spec_of, tune_to_templates
from tests.integration.parity_world import DOMAIN, ParityWorld, WorldOptions

D = 16

MakeWorld = Callable[..., ParityWorld]


@pytest.fixture
def make_world(tmp_path: Path, migrated_database: Database) -> Iterator[MakeWorld]:
    made: list[ParityWorld] = []

    def make(**options: Any) -> ParityWorld:
        made.append(ParityWorld(tmp_path, migrated_database, WorldOptions(**options)))
        return made[-1]

    yield make
    for world in made:
        world.close()


def near(i: int, j: int = D - 1, distance: float = 0.0) -> NDArray[np.float64]:
    """A unit vector at this cosine distance from axis i, turned towards axis j."""
    vector = np.zeros(D)
    vector[i] = 1.0 - distance
    vector[j] += np.sqrt(1.0 - vector[i] ** 2)
    return vector


def face(person: str, vector: NDArray[np.float64], image: str = "1.jpg", exactly: bool = False) -> GalleryFace:
    """:param exactly: in double precision, as some versions wrote their PKLs; the database rounds to single."""
    embedding = vector if exactly else vector.astype(np.float32)
    return GalleryFace(person, f"{person}/{image}", FaceBox(1, 2, 30, 40), embedding)


def crowd(count: int) -> list[GalleryFace]:
    return [face(f"Person {i}", near(i)) for i in range(count)]


def test_equal_galleries_agree_and_no_cause_is_looked_for(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill(crowd(4))
    world.ask(near(0, distance=0.1), request_id="abc")
    row = world.row()
    assert (row.verdict, row.cause, row.proof) == ("agree", None, None)
    assert (row.request_id, row.domain, row.faces, row.answered_by) == ("abc", DOMAIN, 1, "pkl")
    assert (row.pkl_top1, row.pgvector_top1) == ("Person 0", "Person 0")
    assert row.pkl_distance == row.pgvector_distance == pytest.approx(0.1, abs=1e-6)
    assert (row.top1_match, row.top5_overlap, row.top5_size, row.known_flip) == (True, 1, 1, None)


def test_a_person_whom_the_database_lacks_is_drift(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill_pkl(crowd(4))
    world.fill_database(crowd(4)[1:])
    world.ask(near(0))
    row = world.row()
    assert (row.verdict, row.cause, row.known_flip) == ("differ", "gallery_drift", "lost")
    (seen,) = row.proof["faces"][0]["persons"]  # type: ignore[index]
    assert (seen["name"], seen["pkl_distance"], seen["pgvector_distance"]) == ("Person 0", 0.0, None)
    assert (seen["images_only_in_pkl"], seen["images_only_in_pgvector"]) == (1, 0)


def test_a_person_whom_the_pkl_lacks_is_drift(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill_pkl(crowd(4)[1:])
    world.fill_database(crowd(4))
    world.ask(near(0))
    row = world.row()
    assert (row.cause, row.known_flip) == ("gallery_drift", "gained")


def test_a_person_who_pushes_another_out_of_the_five_is_drift_and_the_other_is_not_blamed(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    ranked = [face(f"Person {i}", near(0, i + 1, distance=0.01 * (i + 1))) for i in range(6)]
    world.fill_pkl(ranked)
    world.fill_database(ranked[:2] + ranked[3:])
    world.ask(near(0))
    row = world.row()
    assert (row.cause, row.top5_overlap, row.top5_size) == ("gallery_drift", 4, 5)
    causes = {p["name"]: p["cause"] for p in row.proof["faces"][0]["persons"]}  # type: ignore[index]
    assert causes["Person 2"] == "gallery_drift"
    assert causes["Person 5"] is None, "who moved up was blamed"


def test_one_image_that_was_replaced_in_one_gallery_is_drift(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill_pkl(crowd(6))
    world.fill_database([face("Person 0", near(9)), *crowd(6)[1:]])
    world.ask(near(0))
    assert world.row().cause == "gallery_drift"


def test_galleries_of_one_name_and_other_vectors_throughout_are_of_another_spec(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill_pkl(crowd(6))
    world.fill_database([face(f"Person {i}", near((i + 1) % 6)) for i in range(6)])
    world.ask(near(0))
    row = world.row()
    assert (row.verdict, row.cause) == ("differ", "spec_mismatch")
    assert row.proof["faces"][0]["sample"] == {  # type: ignore[index]
        "images_with_other_vectors": 6,
        "images_in_both": 6,
    }


def test_a_domain_of_another_spec_in_the_database_is_a_spec_mismatch_at_once(make_world: MakeWorld) -> None:
    other = make_world(spec=replace(spec_of(D), detector="mtcnn"))
    other.fill_database(crowd(2))
    world = make_world()
    world.fill_pkl(crowd(2))
    answer = world.ask(near(0))
    assert answer["recognized_faces"][0]["name"] == "Person 0"
    row = world.row()
    assert (row.verdict, row.cause, row.top1_match) == ("candidate_failed", "spec_mismatch", None)


def test_what_the_index_misses_is_found_by_the_exact_search(make_world: MakeWorld) -> None:
    gallery = make_up([5] * 600, dimensions=128)
    world = make_world(
        spec=spec_of(128),
        pkl_threshold=0.7,
        pgvector_threshold=0.7,
        search=SearchOptions(ef_search=10, exact_max_rows=0),
    )
    world.fill(gallery.faces)
    for probe in gallery.probes:
        world.ask(probe)
    causes = {row.cause for row in world.rows() if row.verdict == "differ"}
    assert causes == {"ann_miss"}


def test_what_a_plan_misses_is_found_by_the_exact_search(make_world: MakeWorld) -> None:
    world = make_world(spec=spec_of(128), pkl_threshold=0.7, pgvector_threshold=0.7)
    gallery = make_up([5] * 40, dimensions=128)
    world.fill(gallery.faces)
    tune_to_templates(world.database, world.spec, DOMAIN, 0.7)
    with world.database.transaction(10) as cursor:
        cursor.execute("UPDATE search_plans SET max_template_distance = -1")
    world.ask(gallery.probes[0])
    row = world.row()
    assert (row.verdict, row.known_flip, row.cause) == ("differ", "lost", "ann_miss")


def test_a_face_at_the_threshold_that_rounding_puts_on_either_side_is_an_edge(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill(on_either_side(lambda distance: distance <= 0.3))
    world.ask(near(0))
    row = world.row()
    assert (row.verdict, row.cause) == ("differ", "threshold_edge")
    assert row.known_flip in ("lost", "gained")


def on_either_side(is_match: Callable[[float], bool]) -> Sequence[GalleryFace]:
    """One face that is a match in double precision and none in single, or the other way round."""
    for turn in range(1, D):
        for step in np.linspace(0.3000003, 0.3000007, 400):
            vector = near(0, turn, distance=step)
            double, single = (exact_distances(v[np.newaxis], near(0))[0] for v in (vector, vector.astype(np.float32)))
            if is_match(double) != is_match(single):
                return [face("Edge", vector, exactly=True)]
    raise AssertionError("no such vector was found")


def test_a_face_between_two_unequal_thresholds_is_an_edge(make_world: MakeWorld) -> None:
    world = make_world(pgvector_threshold=0.2)
    world.fill(crowd(3))
    world.ask(near(0, distance=0.25))
    row = world.row()
    assert (row.cause, row.known_flip) == ("threshold_edge", "lost")
    assert row.proof["faces"][0]["thresholds"] == {"pkl": 0.3, "pgvector": 0.2}  # type: ignore[index]


def test_two_persons_at_one_distance_in_another_order_are_a_tie(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill(swapped())
    world.ask(near(0))
    row = world.row()
    assert (row.verdict, row.cause, row.top1_match) == ("differ", "tie", False)
    assert {row.pkl_top1, row.pgvector_top1} == {"Ana", "Bojan"}


def swapped() -> list[GalleryFace]:
    """Two persons at one distance in double precision, who are not at one any more in single."""
    rng = np.random.default_rng(1)
    for _ in range(2000):
        ana, bojan = (aside(rng, distance=0.1000005 - 1e-8) for _ in range(2))
        double = exact_distances(np.stack([ana, bojan]), near(0))
        single = exact_distances(np.stack([ana, bojan]).astype(np.float32), near(0))
        if double[0] == double[1] and single[0] > single[1]:
            return [face("Ana", ana, exactly=True), face("Bojan", bojan, exactly=True)]
    raise AssertionError("no such vectors were found")


def aside(rng: np.random.Generator, distance: float) -> NDArray[np.float64]:
    """A vector of any length at this distance from axis 0, in any direction."""
    rest = rng.normal(size=D - 1)
    rest *= np.sqrt(1 - (1 - distance) ** 2) / np.linalg.norm(rest)
    return np.concatenate([[1 - distance], rest]) * rng.uniform(1, 2)


def test_a_database_that_is_away_is_a_candidate_error(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world()
    world.fill(crowd(2))
    away = ParityWorld(tmp_path, Database("postgresql://nobody@127.0.0.1:1/none"), world.options)
    away.recorder = world.recorder
    away.pgvector._dual = replace(away.pgvector._dual, record=world.recorder.record)
    away.ask(near(0))
    row = world.row()
    assert (row.verdict, row.cause) == ("candidate_failed", "candidate_error")
    assert row.proof["error"]["code"] == "store_unavailable"  # type: ignore[index]
    away.close()


def test_a_database_that_is_too_slow_is_a_candidate_timeout(make_world: MakeWorld) -> None:
    world = make_world(limit_s=0.2)
    world.fill(crowd(2))
    with world.database.transaction(30) as cursor:  # a search has to wait for this table
        cursor.execute("LOCK TABLE face_embeddings")
        world.ask(near(0))
    row = world.row()
    assert (row.verdict, row.cause) == ("candidate_failed", "candidate_timeout")
    assert row.pgvector_ms is None, "a limit that was reached is no time of an answer"


def test_of_several_faces_the_most_serious_cause_is_the_rows(make_world: MakeWorld) -> None:
    world = make_world(pgvector_threshold=0.2)
    world.fill_pkl(crowd(3))
    world.fill_database(crowd(3)[:2])
    world.ask(near(0, distance=0.25), near(1), near(2))
    row = world.row()
    assert (row.faces, row.cause) == (3, "gallery_drift")
    assert [(f["face"], f["cause"]) for f in row.proof["faces"]] == [  # type: ignore[index]
        (0, "threshold_edge"),
        (2, "gallery_drift"),
    ]


def test_whoever_is_deleted_before_anybody_looks_leaves_no_unexplained_difference(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill_pkl(crowd(3))
    world.fill_database(crowd(3)[1:])
    finder = world.recorder._explainer._finder
    find, finder.find = finder.find, lambda *args: (world.fill_pkl(crowd(3)[1:]), find(*args))[1]  # type: ignore[method-assign,assignment]
    world.ask(near(0))
    assert world.row().cause == "gallery_drift"


def test_whoever_is_added_before_anybody_looks_was_not_missed_by_the_index(make_world: MakeWorld) -> None:
    world = make_world()
    world.fill_pkl(crowd(3))
    world.fill_database(crowd(3)[1:])
    finder = world.recorder._explainer._finder
    find, finder.find = finder.find, lambda *args: (world.fill_database(crowd(3)), find(*args))[1]  # type: ignore[method-assign,assignment]
    world.ask(near(0))
    assert world.row().cause == "gallery_drift"
