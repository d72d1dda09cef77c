"""Debian's Chromium, headless, and what a page of it must never do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PATIENCE_MS = 30_000  # the tests share their machine with the service, its database and the models

# Chromium reports every refusal of the service as an error; those of photos and forms are what the tests ask for.
_A_REFUSAL = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")


def chromium_path() -> str | None:
    """Where Chromium is installed, if it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """A running browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Watch:
    """Notes what a page must not do: log an error, raise one, or ask another host for anything."""

    def __init__(self, page: Page, address: str) -> None:
        self.faults: list[str] = []
        self._address = address
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._on_request)

    def _on_message(self, message: ConsoleMessage) -> None:
        is_ours = message.location["url"].startswith(self._address)
        if message.type == "error" and not (is_ours and _A_REFUSAL.match(message.text)):
            self.faults.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self._address, "blob:", "data:")):
            self.faults.append(f"request to {request.url}")


def sign_in(page: Page, address: str, token: str) -> None:
    """Sign in as somebody does who has a token."""
    page.goto(f"{address}/console/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation", name="Console").wait_for()
    page.wait_for_load_state()  # the page's scripts have run


def leave_dialogs_to_the_test(page: Page) -> None:
    """Have file dialogs reported from here on: asked for only when a key is pressed, the key may be faster."""
    page.on("filechooser", lambda _: None)
