"""A job's status as server-sent events, over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from werkzeug.serving import make_server

from app.services.video.job_records import Progress
from tests.integration.conftest import OpenVideoApi
from tests.integration.video_api import VideoApi

Events = Iterator[tuple[str, dict[str, Any]]]


@pytest.fixture
def api(open_video_api: OpenVideoApi) -> VideoApi:
    return open_video_api(web_threads=2)


@pytest.fixture
def address(api: VideoApi) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, api.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    api.client.application.extensions["status_streams"].end()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def job_id(api: VideoApi, video: bytes) -> str:
    return str(api.send(video).json["job_id"])


def follow(api: VideoApi, address: str, job_id: str) -> requests.Response:
    headers = {"Authorization": api.tokens["acme"], "Last-Event-ID": "41"}
    return requests.get(f"{address}/v3/status/{job_id}/events", headers=headers, stream=True, timeout=20)


def events(answer: requests.Response) -> Events:
    name = ""
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def test_a_client_hears_of_each_step_until_the_job_is_done(api: VideoApi, address: str, job_id: str) -> None:
    jobs = api.container.videos.job_store
    with follow(api, address, job_id) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        heard = events(answer)
        assert next(heard)[1]["state"] == "queued"
        job = api.begin()
        jobs.progress(job, Progress("reading", 25.0, 5, 20, 2))
        assert next(e for e in heard if e[1]["percent"] == 25.0)[1]["stage"] == "reading"
        api.complete(job)
        assert [(name, document["state"]) for name, document in heard][-2:] == [("status", "done"), ("end", "done")]


def test_a_job_that_is_removed_ends_the_stream(api: VideoApi, address: str, job_id: str) -> None:
    with follow(api, address, job_id) as answer:
        heard = events(answer)
        next(heard)
        api.delete(f"/v3/jobs/{job_id}")
        assert list(heard)[-1][0] == "end"


def test_streams_leave_threads_to_others_and_a_place_is_free_again(api: VideoApi, address: str, job_id: str) -> None:
    with follow(api, address, job_id) as first:
        heard = events(first)
        next(heard)
        refused = follow(api, address, job_id)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_streams")
        api.post(f"/v3/jobs/{job_id}/cancel")
        assert list(heard)[-1] == ("end", {"state": "cancelled"})
    with follow(api, address, job_id) as again:
        assert again.status_code == 200


def test_a_stream_and_a_video_that_arrives_share_the_threads_that_may_be_held(
    api: VideoApi, address: str, job_id: str, video: bytes
) -> None:
    with follow(api, address, job_id) as answer:
        heard = events(answer)
        next(heard)
        refused = api.send(video)
        assert (refused.status_code, refused.json["error"]["code"]) == (503, "too_many_uploads")
        api.post(f"/v3/jobs/{job_id}/cancel")
        list(heard)
    assert api.send(video).status_code == 202


def test_a_process_that_ends_does_not_wait_for_its_streams(api: VideoApi, address: str, job_id: str) -> None:
    with follow(api, address, job_id) as answer:
        heard = events(answer)
        next(heard)
        api.client.application.extensions["status_streams"].end()
        assert list(heard) == []
