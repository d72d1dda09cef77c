"""The main job over a real socket, in all three modes."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scripts import demo_faces
from tests.e2e.conftest import PGVECTOR, PKL, Service

CONTRACT_FIELDS = {"status", "recognized_faces", "pgvector_results", "comparison", "mode"}
FACE_FIELDS = {"box", "name", "distance", "similarity", "confidence", "image", "matches"}
COMPARISON_FIELDS = {"top1_match", "pkl_top1", "pgvector_top1", "top5_overlap", "top5_overlap_pct"}


def test_a_known_person_is_recognised_by_both_galleries_with_equal_numbers(dual: Service) -> None:
    photo, person = demo_faces.known_probe()
    response = dual.recognize(photo)
    answer = response.json()
    assert response.status_code == 200
    assert set(answer) >= CONTRACT_FIELDS
    assert (answer["status"], answer["mode"]) == ("success", "dual")
    assert set(answer["recognized_faces"][0]) == FACE_FIELDS
    assert answer["recognized_faces"][0]["name"] == person
    assert answer["pgvector_results"] == answer["recognized_faces"]
    assert set(answer["comparison"]) == COMPARISON_FIELDS
    assert answer["comparison"]["top1_match"] is True
    assert answer["comparison"]["pkl_top1"] == answer["comparison"]["pgvector_top1"] == person
    assert answer["comparison"]["top5_overlap_pct"] == 100.0


def test_somebody_unknown_has_no_name_on_both_sides_and_that_is_a_match(dual: Service) -> None:
    answer = dual.recognize(demo_faces.unknown_probe()).json()
    face = answer["recognized_faces"][0]
    assert (face["name"], face["distance"], face["image"], face["matches"]) == (None, None, None, [])
    assert answer["comparison"]["top1_match"] is True


def test_several_faces_are_answered_one_by_one_largest_first(dual: Service) -> None:
    photo, expected = demo_faces.several_faces()
    answer = dual.recognize(photo).json()
    faces = answer["recognized_faces"]
    areas = [f["box"]["w"] * f["box"]["h"] for f in faces]
    assert sorted((f["name"] for f in faces), key=str) == sorted(expected, key=str)
    assert areas == sorted(areas, reverse=True)
    assert [f["pkl_top1"] for f in answer["comparison"]["faces"]] == [f["name"] for f in faces]
    assert answer["comparison"]["pkl_top1"] == faces[0]["name"]


def test_a_gallery_image_finds_itself_at_distance_zero(dual: Service) -> None:
    image = next((dual.storage / "galleries" / "demo").glob("*/*.png"))
    face = dual.recognize(image.read_bytes()).json()["recognized_faces"][0]
    assert (face["distance"], face["similarity"]) == (0.0, 1.0)
    assert face["image"] == f"{image.parent.name}/{image.name}"


def test_every_comparison_is_logged_with_its_request_id_and_without_names(dual: Service) -> None:
    photo, person = demo_faces.known_probe()
    dual.recognize(photo, headers={"X-Request-ID": "watched-request-1"})
    lines = [json.loads(line) for line in dual.log().splitlines() if "watched-request-1" in line]
    comparison = next(line for line in lines if line["event"].startswith("DUAL-MODE"))
    assert comparison["domain"] == "demo"
    assert comparison["top1_match"] is True
    assert comparison["pkl_top1"] == comparison["pgvector_top1"] != person
    assert comparison["pkl_ms"] > 0
    assert comparison["pgvector_ms"] > 0
    assert person not in dual.log()


def test_the_request_id_is_taken_over_or_made_and_is_always_in_the_answer(dual: Service) -> None:
    photo, _ = demo_faces.known_probe()
    assert dual.recognize(photo, headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    made = dual.recognize(photo, headers={"X-Request-ID": "not ok; <script>"}).headers["X-Request-ID"]
    assert len(made) == 32


def test_parallel_requests_get_the_answers_of_single_ones(dual: Service) -> None:
    photos = [demo_faces.known_probe()[0], demo_faces.several_faces()[0], demo_faces.unknown_probe()]
    alone = [dual.recognize(photo).json()["recognized_faces"] for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: dual.recognize(photos[i % 3]).json()["recognized_faces"], range(24)))
    assert all(answer == alone[i % 3] for i, answer in enumerate(together))


def test_pkl_mode_answers_alone_and_needs_no_database(
    start_service: Callable[..., Any], storage_copy: Path, dual: Service
) -> None:
    photo, _ = demo_faces.known_probe()
    with start_service(PKL, storage_copy) as service:
        answer = service.recognize(photo).json()
        assert not (storage_copy / "pgdata").exists()
    assert answer["mode"] == "pkl"
    assert not {"pgvector_results", "comparison"} & set(answer)
    assert answer["recognized_faces"] == dual.recognize(photo).json()["recognized_faces"]


def test_pgvector_mode_answers_without_any_pkl(
    start_service: Callable[..., Any], storage_copy: Path, database_url: str, dual: Service
) -> None:
    photo, _ = demo_faces.several_faces()
    for pkl in storage_copy.rglob("*.pkl"):
        pkl.unlink()
    with start_service(PGVECTOR | {"DATABASE_URL": database_url}, storage_copy) as service:
        answer = service.recognize(photo).json()
    assert answer["mode"] == "pgvector"
    assert not {"pgvector_results", "comparison"} & set(answer)
    assert answer["recognized_faces"] == dual.recognize(photo).json()["recognized_faces"]
    assert not (storage_copy / "pgdata").exists(), "an embedded server was started beside the one that was named"


@pytest.mark.parametrize("mode", [PKL, PGVECTOR], ids=["pkl", "pgvector"])
def test_the_test_endpoint_answers_from_pgvector_in_every_mode(
    start_service: Callable[..., Any], mode: dict[str, str], database_url: str, dual: Service
) -> None:
    photo, person = demo_faces.known_probe()
    with start_service(mode | {"DATABASE_URL": database_url}) as service:
        answer = service.recognize(photo, "/recognize-pgvector-test").json()
    assert answer["mode"] == "pgvector"
    assert answer["recognized_faces"][0]["name"] == person
    assert answer["recognized_faces"] == dual.recognize(photo, "/recognize-pgvector-test").json()["recognized_faces"]


def test_a_new_pkl_is_picked_up_without_a_restart(start_service: Callable[..., Any], storage_copy: Path) -> None:
    photo, person = demo_faces.known_probe()
    pkl = next(storage_copy.rglob("*.pkl"))
    whole = pkl.read_bytes()
    with start_service(PKL, storage_copy) as service:
        assert service.recognize(photo).json()["recognized_faces"][0]["name"] == person
        replace(pkl, without(person, whole))
        eventually(lambda: service.recognize(photo).json()["recognized_faces"][0]["name"] != person)
        replace(pkl, whole)
        eventually(lambda: service.recognize(photo).json()["recognized_faces"][0]["name"] == person)


def without(person: str, pkl: bytes) -> bytes:
    import pickle

    return pickle.dumps([row for row in pickle.loads(pkl) if f"/{person}/" not in row["identity"]])


def replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.replace(path)


def eventually(holds: Callable[[], bool], tries: int = 60) -> None:
    import time

    for _ in range(tries):
        if holds():
            return
        time.sleep(0.5)
    pytest.fail("it did not become so within the time given")
