"""Who gets into the console, for how long, and what a forged request meets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from app.auth import Role, TokenStore
from scripts import demo_faces
from tests.e2e.conftest import PKL, Service


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, storage: Any) -> Any:
    """Of its own, so that failed sign-ins hold nobody else back."""
    with start_service(PKL | {"WEB_WORKERS": "1"}) as running:
        yield running


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', page)
    assert found is not None
    return found[1]


def signed_in(service: Service, token: str) -> requests.Session:
    session = requests.Session()
    form = {"token": token, "csrf_token": csrf_of(session.get(f"{service.address}/console/sign-in", timeout=60).text)}
    answer = session.post(f"{service.address}/console/sign-in", data=form, timeout=60, allow_redirects=False)
    assert answer.status_code == 302
    return session


def test_without_a_session_every_page_leads_to_the_sign_in_and_back(service: Service) -> None:
    answer = requests.get(f"{service.address}/console/people/?q=a", timeout=60, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/console/sign-in?next=/console/people/?q%3Da")
    asked = requests.post(f"{service.address}/console/api/recognise", timeout=60)
    assert (asked.status_code, asked.json()["error"]["code"]) == (401, "sign_in_required")


def test_the_cookie_is_for_the_console_alone_and_holds_no_token(service: Service) -> None:
    session = signed_in(service, service.tokens["demo"])
    (cookie,) = session.cookies
    assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/console", True)
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    assert service.tokens["demo"] not in str(cookie.value)
    assert "Set-Cookie" not in requests.get(f"{service.address}/healthz", timeout=60).headers
    assert (service.storage / "console.key").stat().st_mode & 0o777 == 0o600


def test_a_request_without_the_csrf_token_changes_nothing(service: Service) -> None:
    session = signed_in(service, service.tokens["demo"])
    photo = {"image": ("p.jpg", demo_faces.known_probe()[0])}
    assert session.post(f"{service.address}/console/api/recognise", files=photo, timeout=60).status_code == 400
    token = csrf_of(session.get(f"{service.address}/console/recognise", timeout=60).text)
    good = session.post(
        f"{service.address}/console/api/recognise", files=photo, headers={"X-CSRFToken": token}, timeout=60
    )
    assert good.json()["recognized_faces"][0]["name"] == demo_faces.person_name(0)


def test_the_api_needs_no_csrf_token_as_before(service: Service) -> None:
    assert service.recognize(demo_faces.known_probe()[0]).status_code == 200


def test_a_revoked_token_ends_its_session_at_the_next_request(service: Service) -> None:
    store = TokenStore(Path(service.storage) / "tokens.json")
    session = signed_in(service, store.create("leaving", ["demo"], [Role.RECOGNISE], None))
    assert session.get(f"{service.address}/console/recognise", timeout=60).url.endswith("/console/recognise")
    store.revoke(next(token.id for token in store.tokens() if token.name == "leaving"))
    assert "/console/sign-in" in session.get(f"{service.address}/console/recognise", timeout=60).url


def test_a_sign_in_leads_to_no_other_host(service: Service) -> None:
    session = requests.Session()
    page = session.get(f"{service.address}/console/sign-in", timeout=60).text
    form = {"token": service.tokens["demo"], "csrf_token": csrf_of(page), "next": "//elsewhere.example/console/"}
    answer = session.post(f"{service.address}/console/sign-in", data=form, timeout=60, allow_redirects=False)
    assert answer.headers["Location"] == "/console/"


def test_no_page_may_load_anything_from_elsewhere(service: Service) -> None:
    policy = requests.get(f"{service.address}/console/sign-in", timeout=60).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_whoever_fails_too_often_has_to_wait(service: Service) -> None:
    session = requests.Session()
    form = {"token": "guess", "csrf_token": csrf_of(session.get(f"{service.address}/console/sign-in", timeout=60).text)}
    answers = [session.post(f"{service.address}/console/sign-in", data=form, timeout=60) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert "try again in" in answers[-1].text


def test_where_the_console_is_switched_off_there_is_none(start_service: Callable[..., Any]) -> None:
    with start_service(PKL | {"WEB_WORKERS": "1", "CONSOLE_ENABLED": "false"}) as without:
        assert requests.get(f"{without.address}/console/", timeout=60).status_code == 404
