"""The queue behind the requests: bounded, patient, and at its end in time."""

from __future__ import annotations

import threading

from app.services.parity.queue_worker import QueueOptions, QueueWorker

WAIT_S = 30.0


def test_what_is_offered_is_done_in_its_order_and_in_batches() -> None:
    batches: list[list[int]] = []
    begin = threading.Event()

    def work(batch: list[int]) -> bool:
        begin.wait(WAIT_S)
        batches.append(batch)
        return True

    worker = QueueWorker(work, QueueOptions("test", capacity=100, batch=10))
    assert all(worker.offer(i) for i in range(25))
    begin.set()
    assert worker.flush(WAIT_S)
    assert [i for batch in batches for i in batch] == list(range(25))
    assert max(len(batch) for batch in batches) <= 10
    assert worker.close(WAIT_S) == []


def test_a_full_queue_refuses_and_never_waits() -> None:
    release = threading.Event()
    worker = QueueWorker(lambda _: release.wait(WAIT_S), QueueOptions("test", capacity=2))
    taken = [worker.offer(i) for i in range(50)]
    assert 2 <= sum(taken) <= 3, "the queue holds two, and one may be at work"
    release.set()
    assert worker.flush(WAIT_S)
    worker.close(WAIT_S)


def test_a_batch_that_failed_is_tried_again_before_the_next() -> None:
    tries: list[list[str]] = []

    def work(batch: list[str]) -> bool:
        tries.append(batch)
        return len(tries) > 2

    worker = QueueWorker(work, QueueOptions("test", capacity=10, retry_s=0.01))
    worker.offer("a")
    worker.offer("b")
    assert worker.flush(WAIT_S)
    assert tries == [["a"], ["a"], ["a"], ["b"]]
    worker.close(WAIT_S)


def test_closing_gives_up_what_cannot_be_done_and_says_what() -> None:
    worker = QueueWorker(lambda _: False, QueueOptions("test", capacity=10, retry_s=0.01))
    worker.offer("a")
    worker.offer("b")
    assert worker.close(0.1) == ["a", "b"]
    assert not worker.offer("c")


def test_a_queue_that_nothing_was_put_into_has_no_thread() -> None:
    before = threading.active_count()
    worker = QueueWorker(lambda _: True, QueueOptions("test", capacity=10))
    assert threading.active_count() == before
    assert worker.flush(0)
    assert worker.close(0) == []
