"""A service with its console, and a browser that is signed in and watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import DUAL, Service
from tests.e2e.console.browser import PATIENCE_MS, Watch, chromium, chromium_path, sign_in

# The demo's faces are 25 pixels wide before they are enlarged: nothing on them is sharp. Dlib's similarities are high,
# those of different persons too.
LAX = {
    "ENROL_MIN_SHARPNESS": "5",
    "WEB_WORKERS": "2",
    "PROFILE_SEARCH_ENABLED": "true",
    "PROFILE_SEARCH_MIN_SIMILARITY": "0.93",
}

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser_of_the_console() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    with chromium(path) as browser:
        yield browser


@pytest.fixture(scope="session")
def console(start_service: Callable[..., Any]) -> Iterator[Service]:
    with start_service(DUAL | LAX) as running:
        yield running


@pytest.fixture
def open_page(browser_of_the_console: Browser, console: Service) -> Iterator[OpenPage]:
    """Opens a page of its own, signed in with the token of this use (None: not); no page may do what `Watch` notes."""
    contexts, watches = [], []

    def open_signed_in(token: str | None, **look: Any) -> Page:
        contexts.append(browser_of_the_console.new_context(base_url=console.address, **look))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        watches.append(Watch(page, console.address))
        if token is not None:
            sign_in(page, console.address, console.tokens[token])
        return page

    yield open_signed_in
    for context in contexts:
        context.close()
    assert [fault for watch in watches for fault in watch.faults] == []
