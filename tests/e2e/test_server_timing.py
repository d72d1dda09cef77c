"""Each answer says where its time went, and so does its log line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from scripts import demo_faces
from tests.e2e.conftest import DUAL, Service

FRONTEND = "https://news.example"
SEARCHES = {"pkl", "pgvector", "compare"}


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Any]) -> Iterator[Service]:
    with start_service(DUAL | {"CORS_ORIGINS": FRONTEND}) as started:
        yield started


def stages_of(response: requests.Response) -> dict[str, float]:
    """The header as a browser reads it: `name;dur=milliseconds`, separated by commas."""
    metrics = response.headers["Server-Timing"].split(", ")
    assert all(re.fullmatch(r"[a-z]+;dur=\d+(\.\d+)?", metric) for metric in metrics), metrics
    return {name: float(ms) for name, _, ms in (metric.partition(";dur=") for metric in metrics)}


def line_of(service: Service, response: requests.Response) -> dict[str, Any]:
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    request_id = response.headers["X-Request-ID"]
    (line,) = (each for each in lines if each["event"] == "recognize" and each["request_id"] == request_id)
    return dict(line)


def test_an_answer_tells_each_stage_and_the_total(service: Service) -> None:
    response = service.recognize(demo_faces.known_probe()[0])
    assert response.status_code == 200, response.text
    stages = stages_of(response)
    assert {"upload", "wait", "decode"} | SEARCHES <= set(stages)
    assert list(stages)[-1] == "total"
    assert all(ms <= stages["total"] for ms in stages.values())


def test_the_field_of_the_answer_agrees_with_the_header(service: Service) -> None:
    response = service.recognize(demo_faces.known_probe()[0])
    stages, told = stages_of(response), response.json()["timing_ms"]
    assert set(told) == {"embed", "search"}
    assert stages["decode"] <= told["embed"] <= stages["total"]
    assert max(stages["pkl"], stages["compare"]) <= told["search"] + 0.1  # the header's tenths are rounded
    assert told["embed"] + told["search"] <= stages["total"] + 0.1


def test_the_log_line_has_the_same_figures_and_no_name(service: Service) -> None:
    photo, person = demo_faces.known_probe()
    response = service.recognize(photo)
    line, stages = line_of(service, response), stages_of(response)
    assert (line["level"], line["mode"], line["domain"], line["faces"], line["status"]) == (
        "info", "dual", "demo", 1, 200,
    )  # fmt: skip
    assert line["stages"] | {"total": line["ms"]} == stages
    assert person not in json.dumps(line)


def test_the_test_endpoint_tells_its_own_stages(service: Service) -> None:
    response = service.recognize(demo_faces.known_probe()[0], "/recognize-pgvector-test")
    assert SEARCHES & set(stages_of(response)) == {"pgvector"}
    assert line_of(service, response)["mode"] == "pgvector"


def test_an_error_tells_the_stages_that_ran(service: Service) -> None:
    no_photo = service.recognize(b"no photo")
    assert no_photo.status_code == 415
    assert list(stages_of(no_photo)) == ["upload", "wait", "decode", "total"]
    assert line_of(service, no_photo)["status"] == 415


def test_who_is_not_let_in_learns_no_timing(service: Service) -> None:
    refused = service.recognize(demo_faces.known_probe()[0], token="wrong")
    assert refused.status_code == 401
    assert "Server-Timing" not in refused.headers


def test_the_frontends_browser_may_read_the_timing_and_nobody_elses(service: Service) -> None:
    photo, _ = demo_faces.known_probe()
    answer = service.recognize(photo, headers={"Origin": FRONTEND})
    assert answer.headers["Timing-Allow-Origin"] == FRONTEND
    exposed = answer.headers["Access-Control-Expose-Headers"]
    assert {"Server-Timing", "Retry-After"} <= {name.strip() for name in exposed.split(",")}
    stranger = service.recognize(photo, headers={"Origin": "https://elsewhere.example"})
    assert "Timing-Allow-Origin" not in stranger.headers
