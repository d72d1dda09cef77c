"""Video jobs with real workers: every job ends once and complete, whatever ends the worker or the database."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from app.adapters.embedded_postgres import EmbeddedPostgres
from app.adapters.migrator import migrate
from app.adapters.postgres import Database
from app.services.video.job_records import Job, JobState
from tests.integration.video_worker import CROPS_PER_IDENTITY
from tests.integration.video_world import WAIT_S, VideoWorld, wait_until

POINTS = ("reading", "clustering", "storing", "crops", "matching", "profiles", "publishing")


@pytest.fixture
def world(tmp_path: Path, migrated_database: Database, postgres: EmbeddedPostgres) -> VideoWorld:
    return VideoWorld.make(tmp_path, migrated_database, postgres)


def require_complete(world: VideoWorld, job: Job, persons: int) -> None:
    """All that such a video leaves, once."""
    named = {"job_id": job.job_id}
    identities = world.rows("SELECT cluster_id FROM identities WHERE job_id = %(job_id)s ORDER BY 1", **named)
    assert identities == [(number,) for number in range(-1, persons)]
    kept = [key for (key,) in world.rows("SELECT key FROM face_crops WHERE job_id = %(job_id)s", **named)]
    assert sorted(kept) == world.crops(job)
    assert len(kept) == (persons + 1) * CROPS_PER_IDENTITY
    profiles = world.rows("SELECT cluster_id FROM profile_matches WHERE job_id = %(job_id)s ORDER BY 1", **named)
    assert profiles == [(number,) for number in range(persons)]


def test_a_video_leaves_identities_crops_links_and_profiles(world: VideoWorld) -> None:
    with world.worker():
        first = world.wait_for(world.submit(1, 2), JobState.DONE)
        second = world.wait_for(world.submit(2, 3), JobState.DONE)
        other = world.wait_for(world.submit(2, tenant="other"), JobState.DONE)
        wait_until(lambda: world.entries() == 0, "an empty queue")
    for job, persons in ((first, 2), (second, 2), (other, 1)):
        require_complete(world, job, persons)
        assert not world.upload(job).exists()
    links = world.rows("SELECT job_id, cluster_id, other_job_id, other_cluster_id FROM identity_links")
    assert links == [(second.job_id, 0, first.job_id, 1)]
    assert second.profile_search == {"status": "ok", "reason": None, "ms": {"vectors": 1.0}}
    assert (second.percent, second.attempts) == (100, 1)


def test_a_gallery_that_does_not_answer_leaves_a_note_in_the_place_of_names(world: VideoWorld) -> None:
    with world.worker():
        job = world.wait_for(world.submit(1), JobState.DONE)
    ((outcome,),) = world.rows("SELECT gallery_search FROM jobs WHERE job_id = %(job_id)s", job_id=job.job_id)
    assert outcome["status"] == "failed"
    assert outcome["reason"]


@pytest.mark.slow
def test_a_worker_killed_twenty_one_times_loses_and_doubles_nothing(world: VideoWorld) -> None:
    jobs = []
    for number, point in enumerate(POINTS * 3):
        jobs.append(world.insert(7, 100 + number))
        world.pause(jobs[-1], point)
        world.queue.defer()
        worker = world.start_worker()
        world.wait_for_pause()
        worker.send_signal(signal.SIGKILL)
        worker.wait(WAIT_S)
    with world.worker():
        for job in jobs:
            world.wait_for(job, JobState.DONE)
        wait_until(lambda: world.entries() == 0, "an empty queue")
    for job in jobs:
        require_complete(world, job, 2)
        assert world.job(job).attempts == 2
    pairs = world.rows("SELECT job_id, other_job_id FROM identity_links")
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == len(jobs) * (len(jobs) - 1) // 2


def test_one_tenants_many_videos_do_not_keep_anothers_waiting(world: VideoWorld) -> None:
    many = [world.submit(1, tenant="a") for _ in range(10)]
    one = world.submit(1, tenant="b")
    with world.worker():
        for job in [*many, one]:
            world.wait_for(job, JobState.DONE)
    order = world.rows("SELECT tenant_id FROM jobs ORDER BY started_at")
    assert [tenant for (tenant,) in order][:3] == ["a", "b", "a"]


def test_two_workers_share_the_queue_and_do_nothing_twice(world: VideoWorld) -> None:
    with world.worker("one.log"), world.worker("two.log"):
        wait_until(lambda: all("worker.ready" in world.log(name) for name in ("one.log", "two.log")), "both workers")
        jobs = [world.submit(1, frames=20) for _ in range(12)]
        for job in jobs:
            assert world.wait_for(job, JobState.DONE).attempts == 1
    done = [world.log(name).count('"video.done"') for name in ("one.log", "two.log")]
    assert sum(done) == len(jobs)
    assert min(done) > 0


def test_what_is_our_fault_is_tried_again_and_then_given_up(world: VideoWorld) -> None:
    with world.worker():
        broken = world.wait_for(world.submit(1, broken=True), JobState.FAILED)
        refused = world.wait_for(world.submit(1, refused=True), JobState.FAILED)
    assert broken.attempts == 3
    assert broken.error is not None
    assert "mistake" not in broken.error.message
    assert refused.attempts == 1
    assert refused.error is not None
    assert refused.error.code == "not_a_video"


def test_a_job_that_waits_for_its_next_attempt_is_not_taken_by_another_ticket(world: VideoWorld) -> None:
    broken = world.submit(1, broken=True)
    good = [world.submit(1, tenant="other") for _ in range(3)]
    with world.worker():
        assert world.wait_for(broken, JobState.FAILED).attempts == 3
        for job in good:
            assert world.wait_for(job, JobState.DONE).attempts == 1


def test_a_store_that_stays_away_fails_the_job_and_leaves_nothing_behind(world: VideoWorld) -> None:
    (world.folder / "crops_are_down").touch()
    with world.worker():
        failed = world.wait_for(world.submit(1, 2), JobState.FAILED)
        wait_until(lambda: not world.upload(failed).exists(), "the upload removed")
    assert failed.error is not None
    assert (failed.attempts, failed.error.message) == (3, "The crops' store is down.")
    assert world.rows("SELECT FROM identities") == []


def test_a_job_whose_worker_is_killed_every_time_is_given_up(world: VideoWorld) -> None:
    world.settings["VIDEO_MAX_ATTEMPTS"] = "1"
    job = world.killed_at("storing")
    with world.worker():
        failed = world.wait_for(job, JobState.FAILED)
    assert failed.error is not None
    assert failed.error.code == "worker_lost"


def test_a_cancelled_job_stops_and_leaves_nothing(world: VideoWorld) -> None:
    waiting = world.submit(1)
    world.cancel(waiting)
    running = world.submit(1, frames=2000)
    with world.worker():
        wait_until(lambda: world.job(running).frames_done > 0, "progress")
        world.cancel(running)
        world.wait_for(running, JobState.CANCELLED)
        wait_until(lambda: world.entries() == 0, "an empty queue")
    assert world.job(waiting).state is JobState.CANCELLED
    assert world.job(waiting).attempts == 0
    assert world.rows("SELECT FROM identities") == []
    assert not world.upload(running).exists()


def test_a_job_deleted_while_it_runs_is_left_alone(world: VideoWorld) -> None:
    job = world.submit(1, frames=2000)
    after = world.submit(1)
    with world.worker():
        wait_until(lambda: world.job(job).frames_done > 0, "progress")
        world.jobs.delete(world.job(job), "somebody")
        world.wait_for(after, JobState.DONE)
    assert world.rows("SELECT job_id FROM jobs") == [(after.job_id,)]


def test_a_job_in_work_is_handed_back_when_its_worker_is_told_to_end(world: VideoWorld) -> None:
    job = world.submit(1, frames=200)
    with world.worker():
        wait_until(lambda: world.job(job).frames_done > 0, "progress")
    handed_back = world.job(job)
    assert (handed_back.state, handed_back.attempts) == (JobState.QUEUED, 0)
    with world.worker():
        assert world.wait_for(job, JobState.DONE).attempts == 1


def test_a_job_whose_ticket_was_never_put_in_is_found(world: VideoWorld) -> None:
    job = world.insert(1)
    assert world.entries() == 0
    with world.worker():
        world.wait_for(job, JobState.DONE)


def test_jobs_survive_a_queue_that_was_emptied_by_hand(world: VideoWorld) -> None:
    job = world.killed_at("storing")
    with world.database.transaction(10) as cursor:
        cursor.execute("TRUNCATE procrastinate.procrastinate_jobs CASCADE")
    with world.worker():
        world.wait_for(job, JobState.DONE)
        require_complete(world, job, 1)


def test_a_webhook_is_sent_by_a_worker_also_where_whoever_ended_the_job_died_first(world: VideoWorld) -> None:
    bodies: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        world.settings |= {"VIDEO_WEBHOOK_SECRET": "x" * 16, "VIDEO_WEBHOOK_ALLOW_PRIVATE": "true"}
        world.webhook_url = f"http://127.0.0.1:{server.server_port}/hook"
        announced, silent = world.submit(1), world.insert(1)
        world.cancel(silent)
        with world.database.transaction(10) as cursor:
            long_ago = "UPDATE jobs SET finished_at = finished_at - interval '1 hour' WHERE job_id = %(job_id)s"
            cursor.execute(long_ago, {"job_id": silent.job_id})
        with world.worker():
            for job in (announced, silent):
                wait_until(lambda job=job: world.job(job).webhook_state == "delivered", "the webhook")
            wait_until(lambda: world.entries() == 0, "an empty queue")
        server.shutdown()
    states = {said["job_id"]: said["state"] for said in map(json.loads, bodies)}
    assert states == {announced.job_id: "done", silent.job_id: "cancelled"}
    assert len(bodies) == len(states)


@pytest.mark.slow
def test_a_database_that_restarts_in_the_middle_costs_no_attempt(
    tmp_path: Path, make_folder: Callable[[], Path]
) -> None:
    server = EmbeddedPostgres(make_folder() / "pgdata")
    server.start()
    database = Database(lambda: server.url)
    migrate(database)
    world = VideoWorld.make(tmp_path, database, server)
    job = world.submit(1, frames=300)
    try:
        with world.worker():
            wait_until(lambda: world.job(job).frames_done > 0, "progress")
            server.stop()
            time.sleep(3)  # longer than a worker may be silent
            server.start()
            finished = world.wait_for(job, JobState.DONE)
            after = world.wait_for(world.submit(2), JobState.DONE)
            wait_until(lambda: world.entries() == 0, "an empty queue")
        assert finished.attempts == 1
        require_complete(world, finished, 1)
        require_complete(world, after, 1)
    finally:
        database.close()
        server.stop()
