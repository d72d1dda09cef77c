"""Persons added, changed and deleted while the service answers, over a real socket and several workers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest
import requests

from app.bootstrap import Container
from config import Settings
from scripts import demo_faces, fold_pkl_journal, people
from tests.e2e.conftest import DUAL, PKL, Service

# The demo's faces are 25 pixels wide before they are enlarged: nothing on them is sharp.
LAX = {"ENROL_MIN_SHARPNESS": "5", "WEB_WORKERS": "2"}
NEW, ANOTHER = 20, 21  # demo persons who are not in the demo gallery
ENOUGH_FOR_ALL_WORKERS = 8


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Any]) -> Iterator[Service]:
    with start_service(DUAL | LAX) as running:
        yield running


def call(service: Service, method: str, path: str, token: str = "enrol", **extra: Any) -> requests.Response:
    headers = {"Authorization": service.tokens[token]}
    return requests.request(method, f"{service.address}{path}", headers=headers, timeout=60, **extra)


def photos(number: int) -> list[bytes]:
    """The gallery photos of a demo person, as PNG."""
    name = demo_faces.person_name(number)
    return [cv2.imencode(".png", image)[1].tobytes() for who, image in demo_faces.gallery_photos(24) if who == name]


def add(service: Service, name: str, images: list[bytes], token: str = "enrol", **form: str) -> requests.Response:
    files = [("images", ("photo.png", image)) for image in images]
    return call(service, "POST", "/persons", token, data={"name": name, **form}, files=files)


def probe(number: int) -> bytes:
    return demo_faces.known_probe(number)[0]


def names(service: Service, photo: bytes) -> set[str | None]:
    """Who is recognised, asked often enough to have met every worker; both galleries must agree each time."""
    answers = [service.recognize(photo).json() for _ in range(ENOUGH_FOR_ALL_WORKERS)]
    assert [a["comparison"] for a in answers if a["recognized_faces"] != a["pgvector_results"]] == []
    return {answer["recognized_faces"][0]["name"] for answer in answers}


@contextmanager
def traffic(service: Service) -> Iterator[list[dict[str, Any]]]:
    """Requests from three threads for as long as the block runs; yields their answers."""
    answers: list[dict[str, Any]] = []
    over = threading.Event()

    def ask(number: int) -> None:
        with requests.Session() as session:
            while not over.is_set():
                sent = {"files": {"image": ("p.jpg", probe(number))}, "headers": {"Authorization": token}}
                answers.append(session.post(f"{service.address}/recognize", timeout=60, **sent).json())

    token = service.tokens["demo"]
    threads = [threading.Thread(target=ask, args=(number,)) for number in (NEW, NEW, 0)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_persons_come_and_go_under_traffic_without_a_difference_or_an_error(service: Service) -> None:
    with traffic(service) as answers:
        for _ in range(4):
            added = add(service, "Nova Osoba", photos(NEW)).json()
            assert names(service, probe(NEW)) == {"Nova Osoba"}
            renamed = call(service, "PATCH", f"/persons/{added['person']['id']}", json={"name": "Druga Osoba"})
            assert renamed.status_code == 200
            assert names(service, probe(NEW)) == {"Druga Osoba"}
            receipt = call(service, "DELETE", f"/persons/{added['person']['id']}").json()["receipt"]
            assert receipt["completed_at"] is not None
            assert names(service, probe(NEW)) == {None}
    assert len(answers) > 20
    assert {answer["status"] for answer in answers} == {"success"}
    assert [a for a in answers if a["recognized_faces"] != a["pgvector_results"]] == []
    assert "candidate_error" not in json.dumps(answers)
    assert "Osoba" not in service.log()


def test_a_restart_and_a_fold_change_nothing(service: Service, start_service: Callable[..., Any]) -> None:
    person = add(service, "Ostaje Ovde", photos(NEW)).json()["person"]
    with start_service(DUAL | LAX) as restarted:
        assert names(restarted, probe(NEW)) == {"Ostaje Ovde"}
        before = restarted.recognize(probe(NEW)).json()["recognized_faces"]
        with container(service) as used:
            assert fold_pkl_journal.main(["demo"], used) == 0
        assert names(restarted, probe(NEW)) == {"Ostaje Ovde"}
        assert restarted.recognize(probe(NEW)).json()["recognized_faces"] == before
    call(service, "DELETE", f"/persons/{person['id']}")


def test_photos_are_moved_merged_and_removed_over_http(service: Service) -> None:
    first = add(service, "Prva", photos(NEW)[:2]).json()["person"]["id"]
    second = add(service, "Druga", photos(ANOTHER)[:1]).json()["person"]["id"]
    added = call(service, "POST", f"/persons/{first}/photos", files=[("images", ("3.png", photos(NEW)[2]))])
    assert (added.status_code, added.json()["person"]["faces"]) == (201, 3)
    shown = call(service, "GET", f"/persons/{first}").json()["person"]
    assert all(face["image"].startswith("Prva/") for face in shown["photos"])
    face = shown["photos"][0]["id"]
    moved = call(service, "POST", f"/persons/{first}/photos/{face}/move", json={"to": second})
    assert (moved.json()["person"]["id"], moved.json()["person"]["faces"]) == (second, 2)
    merge = call(service, "POST", f"/persons/{first}/merge", json={"into": second}).json()["merge"]
    assert names(service, probe(NEW)) == {"Druga"}
    assert call(service, "GET", f"/persons/{first}").status_code == 404
    back = call(service, "POST", f"/merges/{merge['merge_id']}/undo").json()["person"]
    assert names(service, probe(ANOTHER)) == {"Druga"}
    assert call(service, "DELETE", f"/persons/{second}/photos/{face}").json()["person"]["faces"] == 1
    assert names(service, probe(NEW)) == {"Prva"}
    for person in (back["id"], second):
        assert call(service, "DELETE", f"/persons/{person}").status_code == 200


def test_a_photo_that_is_not_good_enough_is_refused_with_what_is_wrong_and_by_how_much(
    start_service: Callable[..., Any],
) -> None:
    with start_service(DUAL | {"ENROL_MIN_FACE_PX": "500", "WEB_WORKERS": "1"}) as strict:
        refused = add(strict, "Nova", photos(NEW)[:1])
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "photo_quality")
        details = refused.json()["error"]["details"]
        assert [each["check"] for each in details["missed"]] == ["face_size_px", "sharpness"]
        assert all(each["measured"] < each["required"] for each in details["missed"])
        assert details["photo"] == 1
        several = add(strict, "Nova", [demo_faces.several_faces()[0]]).json()["error"]
        assert (several["code"], several["details"]["faces"]) == ("several_faces", 4)
        assert add(strict, "Nova", [b"no image"]).status_code == 415
        assert add(strict, "Nova", photos(NEW)[:1], force="true").status_code == 403
        forced = add(strict, "Nova", photos(NEW)[:1], token="all", force="true", domain="demo")
        assert forced.status_code == 201
        call(strict, "DELETE", f"/persons/{forced.json()['person']['id']}")


def test_a_photo_that_looks_like_somebody_else_is_refused_with_that_name(service: Service) -> None:
    refused = add(service, "Nova", [probe(0)])
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "looks_like_another")
    assert refused.json()["error"]["details"]["person"] == demo_faces.person_name(0)


@pytest.mark.parametrize(
    ("token", "method", "path", "status"),
    [
        ("viewer", "GET", "/persons", 200),
        ("viewer", "POST", "/persons", 403),
        ("viewer", "DELETE", "/persons/1", 403),
        ("demo", "GET", "/persons", 403),
        ("other", "GET", "/persons?domain=demo", 403),
        ("wrong", "GET", "/persons", 401),
        ("enrol", "GET", "/persons/999999", 404),
        ("enrol", "GET", "/persons?limit=-1", 400),
        ("enrol", "POST", "/persons", 400),
        ("enrol", "PATCH", "/persons/1", 400),
        ("enrol", "POST", "/persons/1/merge", 400),
        ("enrol", "POST", "/merges/999999/undo", 404),
        ("enrol", "PUT", "/persons", 405),
    ],
)
def test_who_may_not_or_asks_wrongly_is_told_so(
    service: Service, token: str, method: str, path: str, status: int
) -> None:
    answer = call(service, method, path, token)
    assert answer.status_code == status
    assert answer.json()["status"] == ("success" if status == 200 else "error")


def test_persons_are_listed_in_pages(service: Service) -> None:
    page = call(service, "GET", "/persons?limit=2&offset=1&search=person").json()
    assert ([p["name"] for p in page["persons"]], page["total"]) == (["Person 002", "Person 003"], 20)


def test_without_a_database_persons_cannot_be_changed_and_the_answer_says_why(
    storage_copy: Path, start_service: Callable[..., Any]
) -> None:
    with start_service(PKL | {"WEB_WORKERS": "1"}, storage_copy) as without:
        answer = call(without, "GET", "/persons")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unconfigured")


@contextmanager
def container(service: Service) -> Iterator[Container]:
    """What a command beside the running service works with."""
    settings = Settings(
        _env_file=None,
        storage_dir=service.storage,
        face_model="Dlib",
        face_detector="dlib",
        face_weights_download=False,
        vector_db_enabled=True,
        enrol_min_sharpness=5,
    )
    used = Container(settings)
    try:
        yield used
    finally:
        used.close()


def test_the_command_does_the_same_and_the_service_sees_it_at_once(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.png").write_bytes(photos(NEW)[0])

    def run(*arguments: str) -> Any:
        status = people.main(["--domain", "demo", "--json", *arguments], used)
        out, err = capsys.readouterr()
        return json.loads(out.splitlines()[-1]) if status == 0 else err

    with container(service) as used:
        person = str(run("add", "--name", "Iz Komande", "--photo", str(tmp_path / "photo.png"))["person"]["id"])
        assert names(service, probe(NEW)) == {"Iz Komande"}
        run("rename", person, "--name", "Preimenovana")
        assert run("list", "--search", "preim")["total"] == 1
        assert "another name" in run("rename", person, "--name", "Person 001")
        assert run("delete", person)["receipt"]["completed_at"]
        assert "no such person" in run("show", person)
        assert "cannot be read" in run("add", "--name", "X", "--photo", str(tmp_path / "missing.png"))
    assert names(service, probe(NEW)) == {None}
