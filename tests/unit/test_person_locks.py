"""Who keeps whom out while persons change; each lock is taken by a thread, as two requests of one worker would."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from app.adapters.gallery_lock import GalleryLocks
from app.errors import BadRequest, StoreUnavailable

DOMAIN = "serbia"


@pytest.fixture
def locks(tmp_path: Path) -> GalleryLocks:
    return GalleryLocks(tmp_path / "locks")


@contextmanager
def held(lock: AbstractContextManager[None]) -> Iterator[None]:
    """The lock in another thread's hands."""
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_one_writer_at_a_time_changes_a_domain(locks: GalleryLocks) -> None:
    with held(locks.writing(DOMAIN)), locks.writing("slovenia"):
        with pytest.raises(StoreUnavailable) as caught, locks.writing(DOMAIN, wait_s=0):
            pass
        assert caught.value.error_code == "gallery_busy"
    with locks.writing(DOMAIN, wait_s=0):
        pass


def test_readers_are_together_and_a_writer_waits_for_the_last_of_them(locks: GalleryLocks) -> None:
    order: list[str] = []

    def write() -> None:
        with locks.readers_out(DOMAIN):
            order.append("written")

    with held(locks.reading(DOMAIN)), locks.reading(DOMAIN):
        writer = threading.Thread(target=write)
        writer.start()
        order.append("read")
    writer.join()
    assert order == ["read", "written"]


def test_a_writer_that_takes_its_time_does_not_keep_an_answer_waiting_for_ever(locks: GalleryLocks) -> None:
    with held(locks.readers_out(DOMAIN)), locks.reading(DOMAIN):
        pass


def test_without_a_usable_lock_answers_go_on_and_changes_do_not(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file where the folder should be")
    locks = GalleryLocks(tmp_path / "locks")
    with locks.reading(DOMAIN):
        pass
    with pytest.raises(StoreUnavailable), locks.writing(DOMAIN):
        pass


def test_a_domain_that_is_a_path_is_refused(locks: GalleryLocks) -> None:
    with pytest.raises(BadRequest), locks.writing("../serbia"):
        pass
