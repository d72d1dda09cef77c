"""The page Recognise as somebody at a desk uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Page, expect

from scripts import demo_faces
from tests.e2e.conftest import DUAL
from tests.e2e.console.browser import PATIENCE_MS, leave_dialogs_to_the_test, sign_in
from tests.e2e.console.conftest import OpenPage

LARGEST_FIRST = (3, 2, 4, 1)  # the number of each face of `several_faces`, from left to right

expect.set_options(timeout=PATIENCE_MS)


def photo(content: bytes, name: str = "photo.jpg") -> Any:
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def send(page: Page, content: bytes) -> None:
    page.locator("#drop input").set_input_files(photo(content))


def test_a_photo_by_file_shows_boxes_over_the_photo_and_both_answers(open_page: OpenPage) -> None:
    page = open_page("demo")
    content, names = demo_faces.several_faces()
    send(page, content)
    expect(page.locator(".face-card")).to_have_count(4)
    boxes = sorted(page.locator(".box").all(), key=lambda box: (box.bounding_box() or {"x": 0})["x"])
    assert [box.get_attribute("aria-label") for box in boxes] == [
        f"Face {number}: {name or 'Unknown'}" for number, name in zip(LARGEST_FIRST, names, strict=True)
    ]
    expect(page.get_by_text("Both galleries agree")).to_be_visible()
    first = page.locator(".face-card").first
    expect(first.locator(".side-title")).to_contain_text(["PKL", "pgvector"])
    similarities = first.locator("dd").all_inner_texts()
    assert similarities[:3] == similarities[3:]


def test_the_boxes_stay_on_the_faces_when_the_window_becomes_a_phones(open_page: OpenPage) -> None:
    page = open_page("demo")
    send(page, demo_faces.known_probe()[0])
    box, image = page.locator(".box"), page.locator("#photo-image")
    expect(box).to_have_count(1)

    def place() -> list[float]:
        inner, outer = box.bounding_box(), image.bounding_box()
        assert inner and outer
        shares = ((inner["x"] - outer["x"]) / outer["width"], (inner["y"] - outer["y"]) / outer["height"])
        return [round(share, 1) for share in (*shares, inner["width"] / outer["width"])]

    wide = place()
    page.set_viewport_size({"width": 360, "height": 740})
    assert place() == wide
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_no_photo_or_shows_no_face_is_refused_with_a_sentence(open_page: OpenPage) -> None:
    page = open_page("demo")
    send(page, b"no image at all")
    expect(page.get_by_role("alert")).to_contain_text("not an image")
    page.get_by_role("button", name="Another photo").click()
    send(page, demo_faces.known_probe()[0])
    expect(page.get_by_role("heading", name=demo_faces.person_name(0))).to_be_visible()


def test_a_pasted_photo_is_recognised(open_page: OpenPage) -> None:
    page = open_page("demo")
    page.evaluate(
        """bytes => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", {type: "image/jpeg"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: files, bubbles: true}));
        }""",
        list(demo_faces.known_probe(1)[0]),
    )
    expect(page.get_by_role("heading", name=demo_faces.person_name(1))).to_be_visible()


def test_with_the_keyboard_alone_one_signs_in_sends_a_photo_and_walks_through_the_faces(
    open_page: OpenPage, console: Any
) -> None:
    page = open_page(None)
    leave_dialogs_to_the_test(page)
    page.goto("/console/")
    page.keyboard.type(console.tokens["demo"])
    page.keyboard.press("Enter")
    page.get_by_role("navigation", name="Console").wait_for()
    page.wait_for_load_state()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#drop input")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo(demo_faces.several_faces()[0]))
    expect(page.locator(".box")).to_have_count(4)
    page.locator("#another").focus()
    page.keyboard.press("Tab")
    expect(page.locator(".box").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#face-1")).to_be_focused()


def test_a_chosen_theme_stays(open_page: OpenPage) -> None:
    page = open_page("demo", color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Change between light and dark").click()
    dark = page.evaluate(background)
    page.reload()
    assert dark != light
    assert page.evaluate(background) == dark


def test_after_the_cutover_pgvectors_answer_stands_first_and_the_pkl_shadows(
    browser_of_the_console: Browser, start_service: Callable[..., Any]
) -> None:
    with start_service(DUAL | {"VECTOR_DB_PRIMARY": "pgvector", "WEB_WORKERS": "1"}) as service:
        context = browser_of_the_console.new_context(base_url=service.address)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        sign_in(page, service.address, service.tokens["demo"])
        send(page, demo_faces.known_probe()[0])
        card = page.locator(".face-card")
        expect(card.locator(".side-title")).to_contain_text(["pgvector", "PKL"])
        expect(page.get_by_text("Both galleries agree")).to_be_visible()
        context.close()


def test_a_photo_that_was_not_sampled_shows_one_answer_and_says_why(
    browser_of_the_console: Browser, start_service: Callable[..., Any]
) -> None:
    with start_service(DUAL | {"DUAL_MODE_SAMPLE_RATE": "0", "WEB_WORKERS": "1"}) as service:
        context = browser_of_the_console.new_context(base_url=service.address)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        sign_in(page, service.address, service.tokens["demo"])
        send(page, demo_faces.known_probe()[0])
        expect(page.locator(".face-card .side-title")).to_have_count(1)
        expect(page.get_by_text("Not compared")).to_be_visible()
        context.close()
