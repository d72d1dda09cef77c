"""More photos than can be answered: some are refused at once, none is lost, and everything else goes on."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

from scripts import demo_faces
from tests.e2e.conftest import PKL, Service

CLIENTS = 30
SMALL_QUEUE = {"RECOGNIZE_MAX_WAITING": "2", "RECOGNIZE_WAIT_LIMIT_S": "60", "WEB_WORKERS": "2"}


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Any]) -> Iterator[Service]:
    with start_service(PKL | SMALL_QUEUE) as started:
        yield started


def ask(service: Service, photo: bytes) -> requests.Response:
    """As a client that nobody else shares a connection with."""
    headers = {"Authorization": service.tokens["demo"]}
    return requests.post(f"{service.address}/recognize", files={"image": photo}, headers=headers, timeout=120)


def crowd(service: Service, photo: bytes) -> list[Future[requests.Response]]:
    """Thirty clients who all ask at the same moment; they are waited for."""
    together = threading.Barrier(CLIENTS)

    def client() -> requests.Response:
        together.wait(30)
        return ask(service, photo)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [pool.submit(client) for _ in range(CLIENTS)]


def test_a_crowd_gets_right_answers_and_refusals_and_nothing_else(service: Service) -> None:
    photo, _ = demo_faces.several_faces()
    alone = ask(service, photo).json()["recognized_faces"]
    responses = [each.result() for each in crowd(service, photo)]
    answered = [each for each in responses if each.status_code == 200]
    refused = [each for each in responses if each.status_code == 503]
    assert len(answered) + len(refused) == CLIENTS
    assert answered
    assert refused
    assert all(each.json()["recognized_faces"] == alone for each in answered)
    assert ask(service, photo).json()["recognized_faces"] == alone, "the service is not as it was before"


def test_a_refusal_says_when_to_return_and_is_in_the_log(service: Service) -> None:
    refused = [each.result() for each in crowd(service, demo_faces.several_faces()[0])]
    refusal = next(each for each in refused if each.status_code == 503)
    assert int(refusal.headers["Retry-After"]) >= 1
    envelope = refusal.json()
    assert (envelope["status"], envelope["error"]["code"]) == ("error", "overloaded")
    assert envelope["request_id"] == refusal.headers["X-Request-ID"]
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    told = [line for line in lines if line.get("request_id") == envelope["request_id"]]
    assert [line["event"] for line in told] == ["overloaded", "recognize"]
    assert told[0]["refused_since_start"] >= 1


def test_large_uploads_are_refused_with_an_answer_and_not_a_broken_connection(service: Service) -> None:
    photo = demo_faces.several_faces()[0] + bytes(8_000_000)  # what follows a JPEG's end is no part of it
    statuses = Counter(each.result().status_code for each in crowd(service, photo))
    assert set(statuses) <= {200, 503}
    assert statuses[200]


def test_health_answers_during_an_overload(service: Service) -> None:
    photo, _ = demo_faces.several_faces()
    with ThreadPoolExecutor(1) as pool:
        crowded = pool.submit(crowd, service, photo)
        healths = []
        while not crowded.done():
            healths.append(requests.get(f"{service.address}/healthz", timeout=30).status_code)
    assert set(healths) == {200}
    assert len(healths) > 1
    headers = {"Authorization": service.tokens["all"]}
    report = requests.get(f"{service.address}/api/v1/health", headers=headers, timeout=30).json()
    assert report["services"]["engine"]["load"]["photos"] == 0
