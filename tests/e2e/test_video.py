"""From an upload to identities: the real service, a real worker beside it, and real faces."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from app.services.video.webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, signature
from tests.e2e.conftest import DUAL, ROOT, Service, _environment
from tests.integration.test_webhook import Receiver, listening
from tests.videos import Actor, Film, Scene, demo_photos, write_film

SECRET = "a secret of both sides"
VIDEO = DUAL | {"VIDEO_WEBHOOK_SECRET": SECRET, "VIDEO_WEBHOOK_ALLOW_PRIVATE": "true", "VIDEO_MAX_MB": "20"}
DONE_WITHIN_S = 180


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Any]) -> Iterator[Service]:
    with start_service(VIDEO) as service:
        yield service


@pytest.fixture(scope="module")
def worker(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    """A worker over the same storage."""
    environment = _environment(service.storage) | VIDEO
    with service.log_path.with_name("worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.worker"], env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    yield process
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two persons of the demo gallery: one, then the other, then the first once more."""
    photos = demo_photos(2)
    first, second = photos
    scenes = (Scene(2, (Actor(first),)), Scene(2, (Actor(second),), shade=60), Scene(2, (Actor(first, photo=1),)))
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", Film(photos, scenes)).read_bytes()


def test_a_service_that_is_stopped_does_not_wait_for_those_who_follow_a_job(
    start_service: Callable[..., Any], film: bytes
) -> None:
    with start_service(VIDEO | {"GRACEFUL_TIMEOUT_S": "600"}) as service:
        job_id = send(service, film).json()["job_id"]  # no worker runs yet: it stays in the queue
        address = f"{service.address}/v3/status/{job_id}/events"
        answer = requests.get(address, headers=_token(service), stream=True, timeout=60)
        lines = answer.iter_lines(decode_unicode=True)
        assert next(line for line in lines if line.startswith("event")) == "event: status"
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(40) == 0
        answer.close()


def test_a_video_becomes_identities_with_their_names(
    service: Service, worker: subprocess.Popen[bytes], film: bytes
) -> None:
    with listening() as receiver:
        accepted = send(service, film, receiver)
        assert accepted.status_code == 202, accepted.text
        job_id = accepted.json()["job_id"]
        heard = follow(service, job_id)
        _until(lambda: bool(receiver.got))
    assert heard[-1] == "end"
    results = get(service, f"/v3/results/{job_id}")
    found = [identity for identity in results["identities"] if identity["cluster_id"] >= 0]
    assert len(found) == 2
    assert len(found[0]["timeline"]) == 2
    assert all(identity["matches"][0]["name"] for identity in found)
    assert _of(service, found[0]["best_face"]["crop_url"]).content.startswith(b"\xff\xd8\xff")
    _, headers, body = receiver.got[0]
    assert headers[SIGNATURE_HEADER] == f"sha256={signature(SECRET, headers[TIMESTAMP_HEADER], body)}"
    assert list((service.storage / "videos" / "uploads").glob(".incoming-*")) == []


def test_a_deleted_video_leaves_nothing_behind(service: Service, worker: subprocess.Popen[bytes], film: bytes) -> None:
    job_id = send(service, film).json()["job_id"]
    follow(service, job_id)
    receipt = service.session.delete(f"{service.address}/v3/jobs/{job_id}", headers=_token(service), timeout=30)
    assert receipt.json()["receipt"]["counts"]["identities"] >= 2
    assert _of(service, f"/v3/status/{job_id}").status_code == 404
    assert list((service.storage / "videos").rglob(f"*{job_id}*/*")) == []


def test_a_photo_is_refused_over_the_wire(service: Service) -> None:
    answer = send(service, b"\xff\xd8\xff\xe0" + b"x" * (3 << 20))
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "not_a_video")


def test_a_video_over_the_limit_is_told_so_over_the_wire(service: Service) -> None:
    answer = send(service, b"x" * (40 << 20))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "video_too_large")
    assert list((service.storage / "videos" / "uploads").glob(".incoming-*")) == []


def send(service: Service, video: bytes, receiver: Receiver | None = None) -> requests.Response:
    form = {"mode": "face"} | ({"webhook_url": receiver.url} if receiver else {})
    files = {"file": ("film.mp4", video)}
    return service.session.post(
        f"{service.address}/v3/process", data=form, files=files, headers=_token(service), timeout=60
    )


def follow(service: Service, job_id: str) -> list[str]:
    """The names of the events until the job ends."""
    address = f"{service.address}/v3/status/{job_id}/events"
    with service.session.get(address, headers=_token(service), stream=True, timeout=DONE_WITHIN_S) as answer:
        lines = [str(line) for line in answer.iter_lines(decode_unicode=True)]
    return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]


def get(service: Service, path: str) -> dict[str, Any]:
    answer = _of(service, path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _of(service: Service, path: str) -> requests.Response:
    return service.session.get(f"{service.address}{path}", headers=_token(service), timeout=30)


def _token(service: Service) -> dict[str, str]:
    return {"Authorization": service.tokens["demo"]}


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DONE_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
