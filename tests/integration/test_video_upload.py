"""Sending videos over HTTP: what is accepted, what is refused, and what is the same video once more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.services.video.job_records import Progress
from tests.integration.conftest import OpenVideoApi
from tests.integration.video_api import VideoApi, make_video, open_api


def test_a_video_is_accepted_at_once_and_can_be_followed(video_api: VideoApi, video: bytes) -> None:
    answer = video_api.send(video)
    job_id = answer.json["job_id"]
    assert (answer.status_code, answer.json["state"]) == (202, "queued")
    assert answer.headers["Location"] == answer.json["links"]["status"] == f"/v3/status/{job_id}"
    status = video_api.get(f"/v3/status/{job_id}").json
    assert (status["state"], status["percent"], status["tenant_id"], status["error"]) == ("queued", 0, "acme", None)
    assert [path.read_bytes() for path in video_api.uploads] == [video]


def test_the_status_tells_how_far_a_worker_is(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.send(video).json["job_id"]
    job = video_api.begin()
    video_api.container.videos.job_store.progress(
        job, Progress("reading", 40.0, frames_done=8, frames_total=20, faces=3)
    )
    status = video_api.get(f"/v3/status/{job_id}").json
    told = {name: status[name] for name in ("state", "stage", "percent", "frames_done", "frames_total", "faces")}
    assert told == {
        "state": "running",
        "stage": "reading",
        "percent": 40.0,
        "frames_done": 8,
        "frames_total": 20,
        "faces": 3,
    }
    assert status["seconds_left"] >= 0


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, b"\xff\xd8\xff\xe0 a photo" + b"x" * 2000])
def test_what_is_no_video_is_refused_and_leaves_nothing(video_api: VideoApi, content: bytes) -> None:
    answer = video_api.send(content)
    assert (answer.status_code, answer.json["error"]["code"]) == (415, "not_a_video")
    assert video_api.uploads == []
    assert video_api.get("/v3/jobs").json["total"] == 0


def test_a_video_over_the_limit_is_refused_while_it_arrives_and_leaves_nothing(
    open_video_api: OpenVideoApi, video: bytes
) -> None:
    video_api = open_video_api(video_max_mb=1)
    stated = video_api.send(video + b"\0" * (3 << 20))
    assert (stated.status_code, stated.json["error"]["code"]) == (413, "video_too_large")
    just_over = video_api.send(video + b"\0" * (1 << 20))
    assert (just_over.status_code, just_over.json["error"]["code"]) == (413, "video_too_large")
    assert video_api.uploads == []


def test_a_video_may_be_larger_than_a_photo(open_video_api: OpenVideoApi, video: bytes) -> None:
    assert open_video_api(upload_max_mb=1).send(video + b"\0" * (2 << 20)).status_code == 202


def test_a_video_that_is_too_long_is_refused(open_video_api: OpenVideoApi, tmp_path: Path) -> None:
    answer = open_video_api(video_max_minutes=0.01).send(make_video(tmp_path / "long.mp4", seconds=6))
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "video_too_long")


def test_no_room_on_the_disk_is_said(video_api: VideoApi, video: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("app.services.video.uploads.shutil.disk_usage", lambda _: usage)
    answer = video_api.send(video)
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "disk_full")


def test_a_form_that_breaks_off_leaves_nothing(video_api: VideoApi, video: bytes) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="film.mp4"\r\n\r\n'
    headers = {"Authorization": video_api.tokens["acme"], "Content-Type": "multipart/form-data; boundary=b"}
    answer = video_api.client.post("/v3/process", data=head + video, headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_form")
    assert video_api.uploads == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"mode": "voice"}, "invalid_mode"),
        ({"domain": "slovenia"}, "domain_not_allowed"),
        ({"priority": "5"}, "role_missing"),
        ({"webhook_url": "https://example.org/"}, "webhooks_off"),
    ],
)
def test_what_a_client_may_not_ask_for_is_refused(
    video_api: VideoApi, video: bytes, fields: dict[str, str], code: str
) -> None:
    answer = video_api.send(video, **fields)
    assert answer.status_code in (400, 403)
    assert answer.json["error"]["code"] == code
    assert video_api.uploads == []


def test_a_form_without_a_video_is_refused(video_api: VideoApi) -> None:
    headers = {"Authorization": video_api.tokens["acme"]}
    for form in ({"mode": "face"}, {}):
        answer = video_api.client.post("/v3/process", data=form, headers=headers, content_type="multipart/form-data")
        assert (answer.status_code, answer.json["error"]["code"]) == (400, "video_missing")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "https://user:secret@example.org/",
        "http://127.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/",
        "https://",
    ],
)
def test_a_webhook_that_cannot_be_sent_is_refused_at_once(open_video_api: OpenVideoApi, video: bytes, url: str) -> None:
    answer = open_video_api(video_webhook_secret="a secret of ours").send(video, webhook_url=url)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "webhook_refused")


def test_a_tenant_has_no_more_unfinished_jobs_than_it_may(open_video_api: OpenVideoApi, video: bytes) -> None:
    video_api = open_video_api(video_tenant_max_jobs=1)
    assert video_api.send(video).status_code == 202
    answer = video_api.send(video)
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "too_many_jobs")
    assert len(video_api.uploads) == 1
    assert video_api.send(video, "zenith").status_code == 202


# --- the same once more


def test_a_video_sent_again_with_its_key_is_the_same_job(video_api: VideoApi, video: bytes) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = video_api.send(video, headers=key), video_api.send(video, headers=key)
    assert (first.status_code, "Idempotent-Replay" in first.headers) == (202, False)
    assert (again.status_code, again.headers["Idempotent-Replay"]) == (200, "true")
    assert again.json["job_id"] == first.json["job_id"]
    assert len(video_api.uploads) == 1


def test_a_key_that_comes_with_another_video_is_refused(video_api: VideoApi, video: bytes, other_video: bytes) -> None:
    key = {"Idempotency-Key": "once"}
    video_api.send(video, headers=key)
    answer = video_api.send(other_video, headers=key)
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "idempotency_key_reused")
    assert len(video_api.uploads) == 1
    assert video_api.send(other_video, "zenith", headers=key).status_code == 202


def test_one_video_sent_twice_at_the_same_time_is_one_job(open_video_api: OpenVideoApi, video: bytes) -> None:
    video_api = open_video_api(web_threads=8)

    def send(_: int) -> tuple[int, str]:
        answer = VideoApi(video_api.container, video_api.client.application.test_client(), video_api.tokens).send(
            video, headers={"Idempotency-Key": "at-once"}
        )
        return answer.status_code, answer.json["job_id"]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))
    assert sorted(status for status, _ in answers) == [200, 200, 200, 202]
    assert len({job_id for _, job_id in answers}) == len(video_api.uploads) == 1


def test_without_a_database_it_is_said(tmp_path: Path, video: bytes) -> None:
    video_api = open_api(tmp_path, None, vector_db_enabled=False)
    answer = video_api.send(video)
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "database_unconfigured")
