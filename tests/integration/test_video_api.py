"""Videos over HTTP: who sees what, what was found, and what is left when a job is gone."""

from __future__ import annotations

import base64
import json

import pytest

from app.services.video.identity_store import IdentityStore
from app.services.video.job_records import JobCancelled, JobState, Progress
from tests.integration.conftest import OpenVideoApi
from tests.integration.video_api import CROP, WEBP, VideoApi

# --- tenants


def test_tenants_never_see_each_others_videos(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.done(video)
    paths = ["status", "status/{}/events", "results", "identity/{}/0/profiles", "crops/{}/0_0.jpg"]
    for path in paths:
        answer = video_api.get(f"/v3/{path.format(job_id) if '{}' in path else f'{path}/{job_id}'}", "zenith")
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "job_unknown")
    assert video_api.post(f"/v3/jobs/{job_id}/cancel", "zenith").status_code == 404
    assert video_api.delete(f"/v3/jobs/{job_id}", "zenith").status_code == 404
    assert video_api.get("/v3/jobs", "zenith").json["jobs"] == []
    assert [job["job_id"] for job in video_api.get("/v3/jobs").json["jobs"]] == [job_id]


def test_a_token_of_another_domain_sees_and_changes_nothing(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.done(video)
    paths = ["status/{}", "status/{}/events", "results/{}", "identity/{}/0/profiles", "crops/{}/0_0.jpg"]
    for path in paths:
        answer = video_api.get(f"/v3/{path.format(job_id)}", "slovenia")
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "job_unknown")
    assert video_api.post(f"/v3/jobs/{job_id}/cancel", "slovenia").status_code == 404
    assert video_api.delete(f"/v3/jobs/{job_id}", "slovenia").status_code == 404
    listed = video_api.get("/v3/jobs", "slovenia").json
    assert (listed["jobs"], listed["total"]) == ([], 0)
    acme = {"X-Tenant-Id": "acme"}
    for token, headers in (("acme", None), ("both", None), ("admin", acme)):
        assert video_api.get(f"/v3/results/{job_id}", token, headers).status_code == 200
        assert video_api.get("/v3/jobs", token, headers).json["total"] == 1


def test_a_link_is_shown_to_those_who_may_see_the_other_video(
    video_api: VideoApi, video: bytes, other_video: bytes
) -> None:
    ours = video_api.done(video)
    theirs = video_api.done(other_video, "slovenia", ticket=2)
    with video_api.container.database.transaction(5) as cursor:
        link = "INSERT INTO identity_links VALUES (%(later)s, 0, %(earlier)s, 0, 0.9)"
        cursor.execute(link, {"later": theirs, "earlier": ours})

    def linked(job_id: str, token: str) -> list[str]:
        first = video_api.get(f"/v3/results/{job_id}", token).json["identities"][0]
        return [link["job_id"] for link in first["links"]]

    assert (linked(ours, "acme"), linked(theirs, "slovenia")) == ([], [])
    assert (linked(ours, "both"), linked(theirs, "both")) == ([theirs], [ours])


def test_the_header_names_the_tenant_only_to_those_who_may(video_api: VideoApi, video: bytes) -> None:
    zenith = {"X-Tenant-Id": "zenith"}
    refused = video_api.send(video, "acme", headers=zenith)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "tenant_not_allowed")
    accepted = video_api.send(video, "admin", headers=zenith, domain="serbia")
    assert video_api.get(f"/v3/status/{accepted.json['job_id']}", "zenith").status_code == 200
    assert video_api.send(video, "default", domain="serbia").status_code == 202
    assert video_api.get("/v3/jobs", "default").json["jobs"][0]["tenant_id"] == "default"
    assert (
        video_api.get("/v3/jobs", "admin", headers={"X-Tenant-Id": "../etc"}).json["error"]["code"] == "invalid_tenant"
    )


def test_who_may_only_look_sends_and_removes_nothing(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.send(video).json["job_id"]
    assert video_api.get(f"/v3/status/{job_id}", "viewer").status_code == 200
    for refused in (video_api.send(video, "viewer"), video_api.delete(f"/v3/jobs/{job_id}", "viewer")):
        assert (refused.status_code, refused.json["error"]["code"]) == (403, "role_missing")


# --- what was found


def test_results_are_refused_until_they_are_there(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.send(video).json["job_id"]
    answer = video_api.get(f"/v3/results/{job_id}")
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "not_ready")
    assert answer.json["error"]["details"] == {"state": "queued"}


def test_results_hold_identities_with_their_best_face_timeline_and_matches(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.done(video)
    results = video_api.get(f"/v3/results/{job_id}").json
    assert results["profile_search"] == {"status": "ok", "reason": None}
    assert [identity["cluster_id"] for identity in results["identities"]] == [0, 1, -1]
    first = results["identities"][0]
    assert (first["face_count"], first["avg_quality"]) == (3, 0.7)
    assert first["best_face"] == {
        "at_s": 0.0,
        "box": {"x": 0, "y": 1, "w": 30, "h": 40},
        "quality": 0.7,
        "crop_url": f"/v3/crops/{job_id}/0_0.jpg",
    }
    assert first["timeline"] == [{"start_s": 0.0, "end_s": 3.0}]
    assert [match["entity_id"] for match in first["profile_matches"]] == ["e1", "e2"]
    wanted = {"entity_id", "similarity", "platform", "name", "profile_id", "profile_url", "profile_image_path"}
    assert wanted <= set(first["profile_matches"][0])
    assert "base64" not in json.dumps(results)
    assert video_api.get(first["best_face"]["crop_url"]).data == CROP
    assert video_api.get(results["identities"][2]["best_face"]["crop_url"]).data == CROP


def test_a_person_seen_in_two_videos_is_linked_from_both(video_api: VideoApi, video: bytes, other_video: bytes) -> None:
    earlier = video_api.done(video)
    later = video_api.send(other_video).json["job_id"]
    job = video_api.begin(2)
    video_api.complete(job)
    with video_api.container.database.transaction(5) as cursor:
        cursor.execute("UPDATE jobs SET state = 'running' WHERE job_id = %(id)s", {"id": later})
    IdentityStore(video_api.container.database, job.spec_key).link(job, [0, 1], 0.4)
    video_api.container.videos.job_store.finish(job, JobState.DONE)
    forward = video_api.get(f"/v3/results/{later}").json["identities"][0]["links"]
    back = video_api.get(f"/v3/results/{earlier}").json["identities"][0]["links"]
    assert forward == [{"job_id": earlier, "cluster_id": 0, "similarity": 1.0, "video": "earlier"}]
    assert back == [{"job_id": later, "cluster_id": 0, "similarity": 1.0, "video": "later"}]


def test_profiles_of_an_identity_come_best_first_with_photos_on_request(
    open_video_api: OpenVideoApi, video: bytes
) -> None:
    video_api = open_video_api(profile_search_enabled=True)
    photos = video_api.container.settings.profile_photos / "profile_images"
    photos.mkdir(parents=True)
    (photos / "e1.webp").write_bytes(WEBP)
    job_id = video_api.done(video)
    plain = video_api.get(f"/v3/identity/{job_id}/0/profiles").json
    assert {name: plain[name] for name in ("job_id", "tenant_id", "cluster_id", "count")} == {
        "job_id": job_id,
        "tenant_id": "acme",
        "cluster_id": 0,
        "count": 2,
    }
    first = plain["profile_matches"][0]
    assert set(first) == {
        *("match_id", "entity_id", "similarity", "platform", "profile_name", "profile_id", "profile_url"),
        *("profile_image_path", "created_at", "biography", "follower_count"),
    }
    assert first["profile_image_path"] == "profile_images/e1.webp"
    with_photos = video_api.get(f"/v3/identity/{job_id}/0/profiles?include_image=true").json["profile_matches"]
    assert with_photos[0]["profile_image_base64"] == f"data:image/webp;base64,{base64.b64encode(WEBP).decode()}"
    assert "profile_image_base64" not in with_photos[1]


def test_an_identity_without_matches_has_an_empty_list_and_an_unknown_one_is_said(
    video_api: VideoApi, video: bytes
) -> None:
    job_id = video_api.done(video)
    for cluster in (1, -1):
        answer = video_api.get(f"/v3/identity/{job_id}/{cluster}/profiles").json
        assert (answer["count"], answer["profile_matches"]) == (0, [])
    unknown = video_api.get(f"/v3/identity/{job_id}/7/profiles")
    assert (unknown.status_code, unknown.json["error"]["code"]) == (404, "identity_unknown")
    assert video_api.get(f"/v3/identity/{job_id}/x/profiles").status_code == 400


@pytest.mark.parametrize("name", ["0_9.jpg", "..%2f0_0.jpg", "0_0.png", "crop"])
def test_a_crop_that_is_not_there_is_said(video_api: VideoApi, video: bytes, name: str) -> None:
    assert video_api.get(f"/v3/crops/{video_api.done(video)}/{name}").status_code == 404


# --- ending


def test_a_job_that_waits_is_cancelled_at_once_and_never_claimed(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.send(video).json["job_id"]
    assert video_api.post(f"/v3/jobs/{job_id}/cancel").json["state"] == "cancelled"
    assert video_api.container.videos.job_store.claim(1) is None
    assert video_api.uploads == []
    again = video_api.post(f"/v3/jobs/{job_id}/cancel")
    assert (again.status_code, again.json["error"]["code"]) == (409, "job_finished")
    assert video_api.get(f"/v3/results/{job_id}").json["error"]["code"] == "job_cancelled"


def test_deleting_a_job_removes_everything_and_says_what(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.done(video)
    receipt = video_api.delete(f"/v3/jobs/{job_id}").json["receipt"]
    assert receipt["counts"] == {
        "jobs": 1,
        "identities": 3,
        "face_crops": 6,
        "identity_links": 0,
        "profile_matches": 2,
        "uploads": 1,
    }
    assert video_api.get(f"/v3/status/{job_id}").status_code == 404
    assert [path for path in video_api.container.settings.videos.rglob("*") if path.is_file()] == []
    with video_api.container.database.transaction(5, read_only=True) as cursor:
        for table in ("jobs", "identities", "face_crops", "profile_matches"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (0,)
        cursor.execute("SELECT action, subject FROM audit_log")
        assert cursor.fetchall() == [("video.deleted", f"video {job_id}")]


def test_a_running_job_that_is_deleted_stops_its_worker(video_api: VideoApi, video: bytes) -> None:
    job_id = video_api.send(video).json["job_id"]
    job = video_api.begin()
    assert video_api.delete(f"/v3/jobs/{job_id}").status_code == 200
    with pytest.raises(JobCancelled):
        video_api.container.videos.job_store.progress(job, Progress("reading", 50.0))


def test_jobs_are_listed_newest_first_by_pages(video_api: VideoApi, video: bytes) -> None:
    sent = [video_api.send(video).json["job_id"] for _ in range(3)]
    page = video_api.get("/v3/jobs?limit=2&offset=1").json
    assert ([job["job_id"] for job in page["jobs"]], page["total"]) == ([sent[1], sent[0]], 3)
    assert video_api.get("/v3/jobs?state=done").json["total"] == 0
    assert video_api.get("/v3/jobs?state=lost").json["error"]["code"] == "invalid_state"
