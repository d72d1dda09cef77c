"""The health tells whether anybody works on videos."""

from __future__ import annotations

from typing import Any

import pytest

from app.adapters.queue_workers import workers_heard
from app.auth import Role
from tests.integration.conftest import OpenVideoApi
from tests.integration.video_api import VideoApi


@pytest.fixture
def api(open_video_api: OpenVideoApi) -> VideoApi:
    made = open_video_api(vector_db_enabled=False)
    made.tokens["operator"] = made.container.tokens.create("operator", ["*"], [Role.VIEW], None, "*")
    return made


def health(api: VideoApi) -> dict[str, Any]:
    return dict(api.get("/api/v1/health", "operator").json)


def change(api: VideoApi, statement: str) -> None:
    with api.container.database.transaction(5) as cursor:
        cursor.execute(statement)


def wait_for_minutes(api: VideoApi, minutes: int) -> None:
    ago = f"now() - interval '{minutes} minutes'"
    change(api, f"UPDATE jobs SET created_at = {ago}, progressed_at = {ago}")


def test_where_nobody_sends_videos_no_worker_is_missed(api: VideoApi) -> None:
    report = health(api)
    assert (report["status"], report["services"]["videos"]) == (
        "ok",
        {"status": "ok", "queued": 0, "running": 0, "oldest_waiting_s": None, "workers": 0},
    )


def test_a_video_that_waits_for_a_worker_that_never_comes_is_told(api: VideoApi, video: bytes) -> None:
    api.send(video)
    assert health(api)["services"]["videos"]["status"] == "ok"  # a worker may just be starting
    wait_for_minutes(api, 10)
    report = health(api)
    part = report["services"]["videos"]
    assert (report["status"], part["status"], part["queued"], part["workers"]) == ("degraded", "degraded", 1, 0)
    assert "facerec-worker" in part["reason"]
    assert part["oldest_waiting_s"] >= 600
    assert api.client.get("/api/v1/health").json["services"]["videos"] == {"status": "degraded"}


def test_a_long_queue_that_a_worker_works_through_is_no_fault(api: VideoApi, video: bytes) -> None:
    api.send(video)
    wait_for_minutes(api, 600)
    # A worker's process has two of these, for videos and for webhooks.
    change(api, "INSERT INTO procrastinate.procrastinate_workers DEFAULT VALUES")
    change(api, "INSERT INTO procrastinate.procrastinate_workers DEFAULT VALUES")
    report = health(api)
    assert (report["status"], report["services"]["videos"]["workers"]) == ("ok", 1)
    change(api, "UPDATE procrastinate.procrastinate_workers SET last_heartbeat = now() - interval '5 minutes'")
    assert workers_heard(api.container.database, 60) == 0
    assert health(api)["services"]["videos"]["status"] == "degraded"


def test_a_job_whose_worker_is_gone_for_good_is_told(api: VideoApi, video: bytes) -> None:
    api.send(video)
    api.begin()
    wait_for_minutes(api, 10)
    part = health(api)["services"]["videos"]
    assert (part["status"], part["running"], part["oldest_waiting_s"]) == ("degraded", 1, None)
