"""The console's pages of videos over a real database: what they say, and to whom."""

from __future__ import annotations

import json
import re

import pytest
from werkzeug.test import TestResponse

from app.services.video.job_records import JobError, JobState
from tests.integration.conftest import OpenVideoApi
from tests.integration.video_api import CROP, WEBP, VideoApi


class Photos:
    """A profile search whose photos are all there."""

    def photos(self, keys: list[str]) -> dict[str, bytes]:
        return dict.fromkeys(keys, WEBP)

    def close(self) -> None:
        pass


def sign_in(api: VideoApi, token: str) -> str:
    """Sign in; the session's CSRF token."""
    csrf = _csrf(api.client.get("/console/sign-in"))
    api.client.post("/console/sign-in", data={"token": api.tokens[token], "csrf_token": csrf})
    return _csrf(api.client.get("/console/videos/"))


def page(api: VideoApi, job_id: str, token: str = "acme") -> str:
    sign_in(api, token)
    answer = api.client.get(f"/console/videos/{job_id}")
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.text)


def test_a_search_that_failed_or_was_off_is_not_told_as_one_that_found_nothing(
    video_api: VideoApi, video: bytes
) -> None:
    told = {}
    for ticket, status in enumerate(("ok", "failed", "off"), start=1):
        job_id = video_api.done(video, ticket=ticket)
        outcome = {"job_id": job_id, "outcome": json.dumps({"status": status, "reason": "Because of this."})}
        with video_api.container.database.transaction(5) as cursor:
            cursor.execute("UPDATE jobs SET profile_search = %(outcome)s WHERE job_id = %(job_id)s", outcome)
        told[status] = page(video_api, job_id)
    assert "No profile is similar enough." in told["ok"]
    assert "Profiles could not be searched" in told["failed"]
    assert "Profiles were not searched" in told["off"]
    for status in ("failed", "off"):
        assert "Because of this." in told[status]
        assert "No profile is similar enough" not in told[status]


def test_a_similarity_of_arcface_has_a_word_and_one_of_another_model_says_why_not(
    video_api: VideoApi, video: bytes
) -> None:
    job_id = video_api.done(video)
    found = page(video_api, job_id)
    assert "0.900" in found
    assert "near-certain</span>" not in found
    assert "ArcFace&#39;s" in found or "ArcFace's" in found


def test_with_arcface_profiles_are_near_certain_or_very_strong(open_video_api: OpenVideoApi, video: bytes) -> None:
    api = open_video_api(face_model="ArcFace")
    found = page(api, api.done(video))
    assert 'ok">near-certain</span>' in found
    assert 'ok">very strong</span>' in found


def test_a_video_that_failed_says_why_and_shows_no_identities(video_api: VideoApi, video: bytes) -> None:
    job_id = str(video_api.send(video).json["job_id"])
    job = video_api.begin()
    error = JobError("not_a_video", "It breaks off at <the beginning>.")
    assert video_api.container.videos.job_store.finish(job, JobState.FAILED, error)
    found = page(video_api, job_id)
    assert "It breaks off at &lt;the beginning&gt;." in found
    assert "identities-title" not in found


@pytest.mark.parametrize("stranger", ["zenith", "slovenia"])
def test_a_video_of_another_tenant_or_domain_is_not_there(video_api: VideoApi, video: bytes, stranger: str) -> None:
    job_id = video_api.done(video)
    csrf = sign_in(video_api, stranger)
    paths = ("videos/{}", "api/videos/{}", "api/videos/{}/events", "api/videos/{}/crops/0_0.jpg")
    for path in (*paths, "api/videos/{}/photo?key=profile_images/e1.webp"):
        assert video_api.client.get(f"/console/{path.format(job_id)}").status_code == 404
    for action in ("cancel", "delete"):
        answer = video_api.client.post(f"/console/videos/{job_id}/{action}", data={"csrf_token": csrf})
        assert answer.status_code == 404
    assert job_id not in video_api.client.get("/console/videos/").text
    assert video_api.get(f"/v3/status/{job_id}").status_code == 200


def test_whoever_sees_all_tenants_chooses_one_and_stays_there(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.done(video)
    sign_in(video_api, "admin")
    assert job_id not in video_api.client.get("/console/videos/").text
    listed = video_api.client.get("/console/videos/?tenant=acme").text
    assert "<option selected>acme</option>" in listed
    assert f"/console/videos/{job_id}?tenant=acme" in listed
    assert "done 1" in video_api.client.get("/console/health/?domain=serbia").text


def test_a_crop_and_a_photo_of_the_videos_own_matches_are_shown_and_no_other_photo(
    video_api: VideoApi, video: bytes
) -> None:
    video_api.container.__dict__["profile_search"] = Photos()
    address = f"/console/api/videos/{video_api.done(video)}"
    sign_in(video_api, "viewer")
    crop = video_api.client.get(f"{address}/crops/0_0.jpg")
    assert (crop.data, crop.mimetype) == (CROP, "image/jpeg")
    photo = video_api.client.get(f"{address}/photo?key=profile_images/e1.webp")
    assert (photo.data, photo.mimetype) == (WEBP, "image/webp")
    for key in ("profile_images/e9.webp", "../tokens.json", ""):
        assert video_api.client.get(f"{address}/photo?key={key}").status_code == 404


def test_a_link_to_a_profile_is_one_of_the_web_only(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.done(video)
    with video_api.container.database.transaction(5) as cursor:
        cursor.execute("UPDATE profile_matches SET profile_url = 'javascript:alert(1)' WHERE entity_id = 'e2'")
    found = page(video_api, job_id)
    assert "https://example.org/ana" in found
    assert "javascript:" not in found


def test_a_body_that_is_a_form_is_not_taken_for_a_video(video_api: VideoApi, video: bytes) -> None:
    csrf = sign_in(video_api, "acme")
    answer = video_api.client.post("/console/api/videos", data={"image": "x"}, headers={"X-CSRFToken": csrf})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "video_missing")


@pytest.mark.parametrize("mimetype", ["video/mp4", "application/octet-stream"])
def test_a_video_is_taken_as_the_body_and_leaves_nothing_half_written(
    video_api: VideoApi, video: bytes, mimetype: str
) -> None:
    headers = {"X-CSRFToken": sign_in(video_api, "acme"), "Content-Type": mimetype}
    answer = video_api.client.post("/console/api/videos?domain=serbia", data=video, headers=headers)
    assert answer.status_code == 202, answer.text
    assert video_api.client.get(answer.json["page"]).status_code == 200
    refused = video_api.client.post("/console/api/videos?domain=serbia", data=b"\xff\xd8\xff no", headers=headers)
    assert (refused.status_code, refused.json["error"]["code"]) == (415, "not_a_video")
    assert [path.name for path in video_api.uploads] == [answer.json["job_id"]]


def test_a_video_over_the_limit_is_told_so_before_it_is_read(open_video_api: OpenVideoApi, video: bytes) -> None:
    api = open_video_api(video_max_mb=1)
    headers = {"X-CSRFToken": sign_in(api, "acme"), "Content-Type": "video/mp4"}
    answer = api.client.post("/console/api/videos", data=b"x" * (2 << 20), headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "video_too_large")


def _csrf(answer: TestResponse) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', answer.text)
    assert found is not None, answer.text
    return found[1]
