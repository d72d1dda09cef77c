"""People added, renamed, merged and deleted by hand, and what a viewer may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import requests
from playwright.sync_api import Page, expect

from app.bootstrap import Container
from app.bootstrap_ingest import bulk_runs
from config import Settings
from scripts import demo_faces
from tests.e2e.conftest import Service, settings_of
from tests.e2e.console.browser import PATIENCE_MS
from tests.e2e.console.conftest import OpenPage

NEW, ANOTHER = 20, 21  # demo persons who are not in the demo gallery

expect.set_options(timeout=PATIENCE_MS)


def photos(number: int) -> list[Any]:
    """The gallery photos of a demo person, as files to choose."""
    name = demo_faces.person_name(number)
    images = [image for who, image in demo_faces.gallery_photos(24) if who == name]
    return [
        {"name": f"{i}.png", "mimeType": "image/png", "buffer": cv2.imencode(".png", image)[1].tobytes()}
        for i, image in enumerate(images, start=1)
    ]


def people(page: Page, search: str = "") -> None:
    page.get_by_role("navigation", name="Console").get_by_role("link", name="People").click()
    if search:
        page.get_by_label("Search by name").fill(search)
        page.get_by_role("button", name="Search").click()


def add(page: Page, name: str, files: list[Any]) -> None:
    people(page)
    page.get_by_role("link", name="Add a person").click()
    page.get_by_label("Name").fill(name)
    page.wait_for_load_state()
    page.locator("#photos input").set_input_files(files)
    page.get_by_role("button", name="Add the person").click()


def delete(page: Page, name: str) -> None:
    page.get_by_label("to confirm").fill(name)
    page.get_by_role("button", name="Delete this person").click()
    page.get_by_role("heading", name="Deletion receipt").wait_for()


def known(console: Service, number: int) -> str | None:
    answer = console.recognize(demo_faces.known_probe(number)[0]).json()
    assert answer["recognized_faces"] == answer["pgvector_results"]
    return answer["recognized_faces"][0]["name"]  # type: ignore[no-any-return]


def test_a_person_is_added_renamed_and_deleted_with_a_receipt(open_page: OpenPage, console: Service) -> None:
    page = open_page("enrol")
    add(page, "Nova Osoba", photos(NEW))
    expect(page.get_by_role("heading", name="Nova Osoba")).to_be_visible()
    expect(page.locator(".face img")).to_have_count(3)
    assert known(console, NEW) == "Nova Osoba"
    page.get_by_label("New name").fill("Druga Osoba")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("status")).to_contain_text("Renamed to Druga Osoba")
    assert known(console, NEW) == "Druga Osoba"
    button = page.get_by_role("button", name="Delete this person")
    page.get_by_label("to confirm").fill("Druga")
    expect(button).to_be_disabled()
    delete(page, "Druga Osoba")
    expect(page.get_by_role("status")).to_contain_text("deleted from every store")
    expect(page.get_by_role("row", name="Photos 3")).to_be_visible()
    assert "Druga" not in page.locator("main").inner_text()
    assert known(console, NEW) is None


def test_each_photo_has_its_own_result_and_a_refusal_says_why(open_page: OpenPage) -> None:
    page = open_page("enrol")
    several = {"name": "several.jpg", "mimeType": "image/jpeg", "buffer": demo_faces.several_faces()[0]}
    somebody_else = {"name": "else.jpg", "mimeType": "image/jpeg", "buffer": demo_faces.known_probe(0)[0]}
    add(page, "Treća Osoba", [several, somebody_else, *photos(NEW)[:1]])
    results = page.locator(".upload")
    expect(results.nth(0)).to_contain_text("4 faces")
    expect(results.nth(1)).to_contain_text(f"looks like {demo_faces.person_name(0)}")
    expect(results.nth(2)).to_contain_text("Added")
    page.get_by_role("link", name="Go on with 1 photo").click()
    delete(page, "Treća Osoba")


def test_a_name_that_is_taken_is_said_beside_the_name_and_the_photos_wait(open_page: OpenPage) -> None:
    page = open_page("enrol")
    add(page, demo_faces.person_name(0), photos(NEW)[:1])
    expect(page.get_by_role("alert")).to_contain_text("has that name")
    expect(page.locator(".upload")).to_contain_text("Waiting")
    page.get_by_label("Name").fill("Četvrta Osoba")
    page.get_by_role("button", name="Add the person").click()
    expect(page.get_by_role("heading", name="Četvrta Osoba")).to_be_visible()
    delete(page, "Četvrta Osoba")


def test_two_persons_who_look_alike_are_suggested_merged_undone_and_told_apart(
    open_page: OpenPage, console: Service
) -> None:
    page = open_page("all")
    add(page, "Prva Osoba", photos(ANOTHER)[:2])
    page.get_by_role("heading", name="Prva Osoba").wait_for()
    add(page, "Ista Osoba", photos(ANOTHER)[2:])
    expect(page.locator(".upload")).to_contain_text("looks like Prva Osoba")
    page.get_by_role("button", name="Enrol anyway").click()
    page.get_by_role("heading", name="Ista Osoba").wait_for()

    people(page)
    page.get_by_role("link", name="Possible duplicates").click()
    twin = page.locator(".twin").filter(has_text="Ista Osoba")
    twin.get_by_role("link", name="Preview the merge").click()
    expect(page.locator("main")).to_contain_text("1 photo of Ista Osoba becomes one of Prva Osoba, who then has 3")
    page.get_by_role("button", name="Merge into Prva Osoba").click()
    expect(page.get_by_role("heading", name="Prva Osoba")).to_be_visible()
    expect(page.locator(".face")).to_have_count(3)
    assert known(console, ANOTHER) == "Prva Osoba"
    page.get_by_role("button", name="Undo the merge").click()
    expect(page.get_by_role("heading", name="Ista Osoba")).to_be_visible()

    people(page)
    page.get_by_role("link", name="Possible duplicates").click()
    page.get_by_role("button", name="are not the same").click()
    expect(page.get_by_role("status")).to_contain_text("two persons")
    expect(page.locator(".twin")).to_have_count(0)
    for name in ("Ista Osoba", "Prva Osoba"):
        people(page, name)
        page.locator("a.person").click()
        delete(page, name)


def test_a_viewer_sees_everybody_and_can_change_nobody(open_page: OpenPage, console: Service) -> None:
    page = open_page("viewer")
    people(page, "person 001")
    page.locator("a.person").click()
    expect(page.get_by_role("heading", name="Person 001")).to_be_visible()
    for name in ("Rename", "Delete this person", "Merge into…", "Choose photos"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    refused = page.evaluate(
        """async () => {
            const token = document.querySelector('meta[name="csrf-token"]').content;
            const body = new URLSearchParams({csrf_token: token, confirmation: "Person 001"});
            const answer = await fetch(location.pathname + "/delete", {method: "POST", body});
            return answer.status;
        }"""
    )
    assert refused == 403
    listed = requests.get(
        f"{console.address}/persons?search=person 001", headers={"Authorization": console.tokens["viewer"]}, timeout=60
    )
    assert json.loads(listed.content)["total"] == 1


def test_whoever_may_only_recognise_has_no_page_of_people(open_page: OpenPage) -> None:
    page = open_page("demo")
    expect(page.get_by_role("link", name="People")).to_have_count(0)
    page.goto("/console/people/")
    expect(page.get_by_role("alert")).to_contain_text("lacks the role")


def test_the_page_of_health_shows_imports_while_they_run(
    open_page: OpenPage, console: Service, storage: tuple[Path, dict[str, str]]
) -> None:
    container = Container(Settings(**settings_of(storage[0]), vector_db_enabled=True))
    page = open_page("viewer")
    try:
        with bulk_runs(container).running("embedding", "demo") as note:
            note(30, 120)
            page.goto("/console/health/")
            row = page.get_by_role("row", name="demo Photos of a folder")
            expect(row).to_contain_text("30 of 120")
            expect(row).to_contain_text("running")
    finally:
        container.close()
    page.reload()
    expect(page.get_by_role("row", name="demo Photos of a folder")).to_contain_text("stopped")


def test_the_page_of_health_tells_each_stores_state_and_counts(open_page: OpenPage, console: Service) -> None:
    headers = {"Authorization": console.tokens["viewer"]}
    services = requests.get(f"{console.address}/api/v1/health", headers=headers, timeout=30).json()["services"]
    page = open_page("viewer")
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Health").click()
    expect(page.get_by_text("Everything works")).to_be_visible()
    for row, part, count in (("PKL", "pkl_gallery", "rows"), ("pgvector", "pgvector_gallery", "embeddings")):
        held = services[part]["domains"]["demo"][count]
        assert held >= 60
        expect(page.get_by_role("row", name=f"demo {row} gallery")).to_contain_text(str(held))
