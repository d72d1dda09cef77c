"""Pictures of every page of a running console: light and dark, desktop and phone.

python -m tests.e2e.console.screenshots --address http://127.0.0.1:5001 --token-file storage/demo/token FOLDER

With `--comparisons STORAGE` made-up comparisons are first written to the database of that storage folder, which then is
for pictures only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from app.bootstrap import Container
from config import Settings
from scripts import demo_faces
from tests.e2e.console import parity_rows
from tests.e2e.console.browser import PATIENCE_MS, chromium, chromium_path, sign_in

DESKTOP = {"width": 1280, "height": 860}
UNRECOGNISABLE = "main img, main canvas { filter: blur(5px) } #photo-image { filter: blur(9px) }"
PHONE = {"width": 390, "height": 844}


def main(argv: list[str] | None = None) -> int:
    """0 when every picture was taken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--comparisons", type=Path, metavar="STORAGE")
    parser.add_argument(
        "--blur", action="store_true", help="make faces unrecognisable, for pictures that are published"
    )
    options = parser.parse_args(argv)
    if options.comparisons:
        _write_comparisons(options.comparisons)
    path = chromium_path()
    if path is None:
        print("No Chromium is installed.", file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    with chromium(path) as browser:
        for size, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
            for theme in ("light", "dark"):
                _take_all(browser, options, f"{size}-{theme}", {"viewport": viewport, "color_scheme": theme})
    return 0


def _write_comparisons(storage: Path) -> None:
    container = Container(Settings(storage_dir=storage, vector_db_enabled=True))
    parity_rows.write_days(container.parity_store, "demo", container.engine.spec.key)
    container.close()


def _take_all(browser: Browser, options: argparse.Namespace, name: str, look: dict[str, Any]) -> None:
    context = browser.new_context(**look, bypass_csp=options.blur)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{options.address}/console/sign-in")
    page.screenshot(path=options.folder / f"sign-in-{name}.png")
    sign_in(page, options.address, options.token_file.read_text().strip())
    for title, visit in VISITS.items():
        page.goto(f"{options.address}/console/")
        visit(page)
        page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
        page.wait_for_load_state("networkidle")
        if options.blur:
            page.add_style_tag(content=UNRECOGNISABLE)
        page.screenshot(path=options.folder / f"{title}-{name}.png", full_page=name.startswith("desktop"))
    context.close()


def _open(label: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("navigation", name="Console").get_by_role("link", name=label).click()


def _recognised(page: Page) -> None:
    photo = {"name": "several.jpg", "mimeType": "image/jpeg", "buffer": demo_faces.several_faces()[0]}
    page.locator("#drop input").set_input_files(photo)  # type: ignore[arg-type]
    page.locator(".face-card").first.wait_for()


def _person(page: Page) -> None:
    _open("People")(page)
    page.locator("a.person").first.click()
    page.get_by_role("heading", name="Photos").wait_for()


def _differences(page: Page) -> None:
    _open("Parity")(page)
    page.get_by_role("link", name="All differences").click()


def _difference(page: Page) -> None:
    _open("Parity")(page)
    page.get_by_role("link", name="Show gallery drift").click()
    page.locator("a.difference").first.click()
    page.get_by_role("heading", name="Who was right?").wait_for()


def _new(page: Page) -> None:
    _open("People")(page)
    page.get_by_role("link", name="Add a person").click()


def _merge(page: Page) -> None:
    _twins(page)
    page.get_by_role("heading", name="Possible duplicates").wait_for()
    previews = page.get_by_role("link", name="Preview the merge")
    if previews.count():  # else nobody looks like anybody, and that is the picture
        previews.first.click()


def _twins(page: Page) -> None:
    _open("People")(page)
    page.get_by_role("link", name="Possible duplicates").click()


def _video(page: Page) -> None:
    _open("Videos")(page)
    page.locator(".video").filter(has_text="Done").locator("a.video-link").first.click()
    page.get_by_role("heading", name="Video of").wait_for()


VISITS: dict[str, Callable[[Page], None]] = {
    "recognise-empty": _open("Recognise"),
    "recognise": _recognised,
    "parity": _open("Parity"),
    "differences": _differences,
    "difference": _difference,
    "people": _open("People"),
    "person": _person,
    "person-new": _new,
    "twins": _twins,
    "merge": _merge,
    "videos": _open("Videos"),
    "video": _video,
    "health": _open("Health"),
}


if __name__ == "__main__":
    sys.exit(main())
