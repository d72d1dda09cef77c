"""The pages of parity: a real difference is found, read and judged, and the report changes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.bootstrap import Container
from app.domain import FaceBox, GalleryFace, Match
from app.images import decode_image
from app.services.parity.records import Cause, ComparisonQuery, ComparisonRecord, FaceComparison, Verdict
from config import Settings
from scripts import demo_faces
from tests.e2e.conftest import Service, settings_of
from tests.e2e.console.browser import PATIENCE_MS
from tests.e2e.console.conftest import OpenPage
from tests.e2e.test_recognize import eventually

ONLY_IN_PKL = 5  # the demo person whom these tests take out of the database

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def container(console: Service) -> Iterator[Container]:
    """Over the service's storage and database; no comparison that is made meanwhile stays for other tests."""
    opened = Container(Settings(**settings_of(console.storage), vector_db_enabled=True))
    began = datetime.now(UTC)
    yield opened
    with opened.database.transaction(5.0) as cursor:
        cursor.execute("DELETE FROM comparisons WHERE at >= %(began)s", {"began": began})
    opened.close()


@pytest.fixture
def differences(console: Service, container: Container) -> Iterator[list[int]]:
    """Ids of two real differences, newest first: somebody was missing in the database when photos of them came."""
    name = demo_faces.person_name(ONLY_IN_PKL)
    before = _drifted(container)
    faces = _faces_of(container, name)
    with container.database.transaction(5.0) as cursor:
        cursor.execute("DELETE FROM persons WHERE domain = 'demo' AND name = %(name)s", {"name": name})
    for _ in range(2):
        answer = console.recognize(demo_faces.known_probe(ONLY_IN_PKL)[0]).json()
        assert answer["comparison"]["top1_match"] is False
    eventually(lambda: len(_drifted(container)) == len(before) + 2)
    yield [found for found in _drifted(container) if found not in before]
    container.vector_db.add_faces("demo", faces)


def _drifted(container: Container) -> list[int]:
    rows = container.parity_store.comparisons(ComparisonQuery(("demo",), cause=Cause.GALLERY_DRIFT))
    return [row.id for row in rows]


def _faces_of(container: Container, name: str) -> list[GalleryFace]:
    faces = []
    for photo in sorted((container.settings.galleries / "demo" / name).iterdir()):
        image = decode_image(photo.read_bytes(), container.photo_limits.image)
        found = container.engine.embed_faces(image)[0]
        faces.append(GalleryFace(name, f"{name}/{photo.name}", found.box, found.embedding))
    return faces


def parity(page: Page) -> None:
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Parity").click()
    page.get_by_role("heading", name="Parity", exact=True).wait_for()


def judged(page: Page, by: str) -> int:
    parity(page)
    return int(page.locator(f"[data-judged={by}]").inner_text())


def width_needed(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def test_a_difference_is_found_read_and_judged_and_the_report_changes(
    open_page: OpenPage, differences: list[int]
) -> None:
    page, name = open_page("all"), demo_faces.person_name(ONLY_IN_PKL)
    pkl_was_right = judged(page, "pkl")
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Now the PKL answers and pgvector shadows")
    expect(page.locator("[data-gate=comparisons]")).to_contain_text("Open")
    expect(page.locator("[data-gate=comparisons]")).to_contain_text("1,000 are wanted")
    page.get_by_role("link", name="Show gallery drift").click()
    page.locator("a.difference").filter(has_text=name).first.click()
    expect(page.get_by_role("heading", name="Why: gallery drift")).to_be_visible()
    expect(page.locator("main")).to_contain_text(f"pgvector holds nothing of {name}.")
    expect(page.get_by_role("region", name="PKL", exact=True)).to_contain_text(name)
    expect(page.get_by_role("region", name="pgvector", exact=True)).to_contain_text("Nobody within the threshold")
    expect(page.get_by_text("Only the PKL names somebody")).to_be_visible()
    assert page.url.split("?")[0].endswith(f"/{differences[0]}")

    page.get_by_role("button", name="PKL", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Who was right: PKL")
    expect(page.get_by_role("button", name="PKL", exact=True)).to_have_attribute("aria-pressed", "true")
    assert judged(page, "pkl") == pkl_was_right + 1


def test_the_filter_leaves_what_is_asked_for_and_works_without_scripts(
    open_page: OpenPage, differences: list[int]
) -> None:
    page = open_page("viewer", java_script_enabled=False)
    parity(page)
    page.get_by_role("link", name="All differences").click()
    page.get_by_label("Cause").select_option("gallery_drift")
    page.get_by_label("Who was right?").select_option("no")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(f"a.difference[href*='/{differences[0]}']")).to_have_count(1)
    assert set(page.locator("a.difference [data-title=Cause]").all_inner_texts()) == {"gallery drift"}
    page.get_by_label("Cause").select_option("tie")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No difference of this kind")).to_be_visible()
    page.get_by_role("link", name="Show all differences").click()
    expect(page.locator(f"a.difference[href*='/{differences[0]}']")).to_have_count(1)
    page.goto("/console/parity/differences/?cause=bad-luck")
    expect(page.get_by_role("alert")).to_contain_text("no such choice")


def test_the_whole_way_is_gone_by_keyboard_from_one_unjudged_difference_to_the_next(
    open_page: OpenPage, differences: list[int]
) -> None:
    page = open_page("all")
    page.goto("/console/parity/differences/?judged=no&cause=gallery_drift&domain=demo")
    newest, older = differences
    page.locator(f"a.difference[href*='/{newest}']").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Who was right?").wait_for()
    button = page.get_by_role("button", name="Neither")
    for _ in range(40):
        if button.evaluate("node => node === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_contain_text("Who was right: Neither")
    expect(page.get_by_role("link", name="Next unjudged")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/differences/{older}?*")


def test_a_viewer_reads_the_judgement_and_cannot_judge(open_page: OpenPage, differences: list[int]) -> None:
    page = open_page("viewer")
    page.goto(f"/console/parity/differences/{differences[0]}")
    expect(page.get_by_text("not judged", exact=True)).to_be_visible()
    for name in ("PKL", "pgvector", "Both", "Neither"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    refused = page.evaluate(
        """async () => {
            const token = document.querySelector('meta[name="csrf-token"]').content;
            const body = new URLSearchParams({csrf_token: token, judged: "pkl"});
            const answer = await fetch(location.pathname + "/judgement", {method: "POST", body});
            return answer.status;
        }"""
    )
    assert refused == 403
    page.reload()
    expect(page.get_by_text("not judged", exact=True)).to_be_visible()


def test_no_page_of_parity_scrolls_sideways_on_a_phone(open_page: OpenPage, differences: list[int]) -> None:
    page = open_page("viewer", viewport={"width": 360, "height": 740})
    for path in ("", "differences/", f"differences/{differences[0]}"):
        page.goto(f"/console/parity/{path}")
        page.get_by_role("heading", level=1).wait_for()
        assert width_needed(page) <= 360, path


def test_the_report_is_downloaded_as_one_file_that_names_nobody(open_page: OpenPage, differences: list[int]) -> None:
    page = open_page("viewer")
    parity(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Report as one file").click()
    content = download.value.path().read_text()
    assert download.value.suggested_filename.startswith("parity-demo-")
    assert "gallery drift" in content
    assert demo_faces.person_name(ONLY_IN_PKL) not in content


def test_whoever_may_not_view_has_no_page_of_parity_and_no_other_domains_difference_is_shown(
    open_page: OpenPage, differences: list[int]
) -> None:
    page = open_page("enrol")
    expect(page.get_by_role("link", name="Parity")).to_have_count(0)
    page.goto("/console/parity/")
    expect(page.get_by_role("alert")).to_contain_text("lacks the role")
    page = open_page("all")
    page.goto(f"/console/parity/differences/{differences[0]}?domain=serbia")
    expect(page.get_by_role("alert")).to_contain_text("no such comparison")


def planted(faces: tuple[FaceComparison, ...], verdict: Verdict, **more: Any) -> ComparisonRecord:
    return ComparisonRecord(
        record_id=str(uuid.uuid4()),
        request_id="planted",
        at=datetime.now(UTC),
        domain="demo",
        spec_key="0" * 16,
        source="replay",
        answered_by="pkl",
        faces=faces,
        pkl_ms=5.0,
        pgvector_ms=None,
        verdict=verdict,
        **more,
    )


def test_a_failure_and_a_difference_nobody_looked_into_on_several_faces_are_told_as_what_they_are(
    open_page: OpenPage, container: Container
) -> None:
    known = (Match("<b>Ana</b>", "(deleted)/1.png", 0.01, 99.0),)
    same = FaceComparison(FaceBox(300, 20, 30, 30), known, known, differs=False)
    other = FaceComparison(FaceBox(10, 20, 30, 40), (), known, differs=True)
    failed = FaceComparison(FaceBox(1, 2, 30, 40), known, (), differs=True)
    proof = {"error": {"code": "store_unavailable", "message": "The database is away."}}
    container.parity_store.write(
        [
            planted((other, same), Verdict.DIFFER),
            planted((failed,), Verdict.CANDIDATE_FAILED, cause=Cause.CANDIDATE_ERROR, proof=proof),
        ]
    )
    page = open_page("viewer")
    page.goto("/console/parity/differences/?verdict=candidate_failed")
    page.locator("a.difference").first.click()
    expect(page.get_by_role("heading", name="No answer")).to_be_visible()
    expect(page.locator("main")).to_contain_text("It said: The database is away.")
    expect(page.get_by_role("region", name="pgvector", exact=True)).to_contain_text("No answer")

    page.goto("/console/parity/differences/?cause=pending")
    page.locator("a.difference").filter(has_text="replay").first.click()
    first, second = page.get_by_role("region", name="Face 1"), page.get_by_role("region", name="Face 2")
    expect(first).to_contain_text("Only pgvector names somebody")
    expect(second).to_contain_text("Same answer")
    expect(first).to_contain_text("10 px from the left and 20 px from the top")
    expect(second).to_contain_text("(deleted)")


def test_the_health_report_names_the_gallery_that_answers_in_dual_mode(open_page: OpenPage, console: Service) -> None:
    assert console.session.get(f"{console.address}/api/v1/health", timeout=30).json()["primary"] == "pkl"
    page = open_page("viewer")
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Health").click()
    expect(page.get_by_text("mode dual, the PKL answers")).to_be_visible()
