"""The pages of videos: one is sent, followed, and read; and what somebody who may only look cannot do."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import FilePayload, Page, expect

from scripts import demo_faces
from tests.e2e.conftest import DUAL, ROOT, Service, _environment
from tests.e2e.console.browser import PATIENCE_MS, leave_dialogs_to_the_test
from tests.e2e.console.conftest import LAX, OpenPage
from tests.e2e.console.test_sign_in import csrf_of, signed_in
from tests.videos import Actor, Film, Scene, demo_photos, write_film

DONE_WITHIN_MS = 180_000
PERSONS = [demo_faces.person_name(number) for number in range(2)]

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> FilePayload:
    """Two persons of the demo gallery: one, then the other, then the first once more; as a file to choose."""
    photos = demo_photos(2)
    first, second = photos
    scenes = (Scene(2, (Actor(first),)), Scene(2, (Actor(second),), shade=60), Scene(2, (Actor(first, photo=1),)))
    video = write_film(tmp_path_factory.mktemp("film") / "film.mp4", Film(photos, scenes)).read_bytes()
    return {"name": "film.mp4", "mimeType": "video/mp4", "buffer": video}


@pytest.fixture(scope="module")
def profiles(console: Service) -> None:
    """Made-up profiles of the demo's persons in the service's own index."""
    command = [sys.executable, "-m", "scripts.profile_index", "import", "--demo"]
    subprocess.run(command, env=_environment(console.storage) | DUAL | LAX, cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def worker(console: Service, profiles: None) -> Iterator[None]:
    """A worker beside the service."""
    with console.log_path.with_name("worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.worker"],
            env=_environment(console.storage) | DUAL | LAX,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    yield
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def videos(page: Page) -> None:
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Videos").click()
    page.get_by_role("heading", name="Videos", exact=True).wait_for()
    page.wait_for_load_state()


def send(page: Page, film: FilePayload) -> str:
    """Send it and wait for its page, whose address is returned."""
    videos(page)
    page.locator("#video-drop input").set_input_files([film])
    page.get_by_role("heading", name="Video of").wait_for()
    return page.url


def done(page: Page) -> None:
    page.get_by_role("heading", name="identities").wait_for(timeout=DONE_WITHIN_MS)


def delete(page: Page) -> None:
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="Deletion receipt").wait_for()


def test_a_video_is_sent_followed_and_read_and_one_of_the_same_persons_links_to_it(
    open_page: OpenPage, worker: None, film: FilePayload
) -> None:
    page = open_page("demo")
    earlier = send(page, film)
    done(page)
    cards = page.locator("article.identity")
    expect(cards).to_have_count(2)
    first = cards.filter(has_text=PERSONS[0])
    expect(first.get_by_role("img", name="Seen 0:00 to")).to_be_visible()
    expect(first.locator(".timeline-seen")).to_have_count(2)
    expect(first).to_contain_text("Not seen in another video")
    expect(first.get_by_role("heading", name=PERSONS[0])).to_be_visible()
    expect(first.locator(".found").first).to_contain_text("distance 0.0")
    profile = first.get_by_role("link", name="Demo Person 001").first
    assert set(str(profile.get_attribute("rel")).split()) == {"noopener", "noreferrer", "nofollow"}
    expect(page.get_by_text("does not hold for it")).to_be_visible()  # Dlib's similarities are no ArcFace's
    _all_pictures_are_there(page)

    page.get_by_role("link", name="Videos").last.click()
    send(page, film)
    done(page)
    link = page.locator("article.identity").filter(has_text=PERSONS[0]).locator(".found-link").first
    expect(link).to_contain_text("earlier")
    link.click()
    page.wait_for_url(f"{earlier.split('?')[0]}**")
    expect(page.locator("article.identity:target")).to_contain_text(PERSONS[0])
    expect(page.locator("article.identity:target")).to_contain_text("later")
    delete(page)
    expect(page.get_by_role("row", name="Identities 2")).to_be_visible()
    expect(page.get_by_role("row", name="Jobs 1")).to_be_visible()


def test_the_state_and_the_names_can_be_read_without_javascript(
    open_page: OpenPage, worker: None, film: FilePayload
) -> None:
    address = send(open_page("demo"), film)
    page = open_page("viewer", java_script_enabled=False)
    page.goto(address)
    expect(page.get_by_role("heading", name="Video of")).to_be_visible()
    while not page.get_by_role("heading", name="identities").is_visible():
        page.wait_for_timeout(1000)
        page.reload()
    expect(page.get_by_role("heading", name=PERSONS[1])).to_be_visible()


def test_whoever_may_only_look_can_neither_send_nor_cancel_nor_delete(
    open_page: OpenPage, console: Service, worker: None, film: FilePayload
) -> None:
    address = send(open_page("demo"), film)
    page = open_page("viewer")
    videos(page)
    expect(page.locator(".video").first).to_be_visible()
    expect(page.locator("#send")).to_have_count(0)
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    session = signed_in(console, console.tokens["viewer"])
    token = {"X-CSRFToken": csrf_of(session.get(address, timeout=60).text)}
    for path in ("delete", "cancel"):
        assert session.post(f"{address.split('?')[0]}/{path}", headers=token, timeout=60).status_code == 403
    sent = _sent(session, console, film["buffer"], token)
    assert (sent.status_code, sent.json()["error"]["code"]) == (403, "role_missing")


def test_a_video_without_the_csrf_token_or_of_another_tenant_is_refused(
    console: Service, worker: None, film: FilePayload
) -> None:
    session = signed_in(console, console.tokens["demo"])
    assert _sent(session, console, film["buffer"], {}).status_code == 400
    token = {"X-CSRFToken": csrf_of(session.get(f"{console.address}/console/videos/", timeout=60).text)}
    sent = _sent(session, console, film["buffer"], token, tenant="zenith")
    assert (sent.status_code, sent.json()["error"]["code"]) == (403, "tenant_not_allowed")
    assert session.get(f"{console.address}/console/videos/?tenant=zenith", timeout=60).status_code == 403


def test_a_file_that_is_no_video_is_said_beside_its_name(open_page: OpenPage) -> None:
    page = open_page("demo")
    videos(page)
    text: FilePayload = {"name": "notes.mp4", "mimeType": "video/mp4", "buffer": b"no video at all" * 1000}
    page.locator("#video-drop input").set_input_files([text])
    row = page.locator(".upload").filter(has_text="notes.mp4")
    expect(row).to_contain_text("Not sent")
    expect(row.locator("p.small")).not_to_be_empty()


def test_a_video_is_sent_and_deleted_by_keyboard(open_page: OpenPage, worker: None, film: FilePayload) -> None:
    page = open_page("demo")
    leave_dialogs_to_the_test(page)
    videos(page)
    page.locator("#video-drop input").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([film])
    page.get_by_role("heading", name="Video of").wait_for()
    done(page)
    page.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Deletion receipt")).to_be_visible()


def test_the_page_of_health_counts_videos_and_says_how_each_store_of_profiles_is(
    open_page: OpenPage, worker: None, film: FilePayload
) -> None:
    page = open_page("viewer")
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Health").click()
    section = page.get_by_role("region", name="Videos")
    expect(section).to_contain_text("for a worker")
    expect(section).to_contain_text("done")
    stores = page.locator(".service").filter(has_text="Profile search")
    expect(stores).to_contain_text("Faces in own Postgres working")
    expect(stores).to_contain_text("Photos in own folder working")


def _sent(
    session: requests.Session, console: Service, video: bytes, headers: dict[str, str], **query: str
) -> requests.Response:
    return session.post(
        f"{console.address}/console/api/videos",
        params=query,
        data=video,
        headers=headers | {"Content-Type": "video/mp4"},
        timeout=60,
    )


def _all_pictures_are_there(page: Page) -> None:
    page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
    page.wait_for_load_state("networkidle")
    missing = "[...document.querySelectorAll('main img')].filter(i => !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(missing) == []
    assert page.locator(".profiles img").count() > 0
