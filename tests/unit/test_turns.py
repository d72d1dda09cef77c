"""Photos take turns: one at a time, in the order they came, and with an end to the queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.errors import Overloaded
from app.services.turns import Turns
from app.timing import recording


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


class Occupied:
    """A turn that somebody has until `release` is called."""

    def __init__(self, turns: Turns, pool: ThreadPoolExecutor) -> None:
        self._go, taken = threading.Event(), threading.Event()

        def hold() -> None:
            with turns.turn():
                taken.set()
                self._go.wait(30)

        self.ended: Future[None] = pool.submit(hold)
        assert taken.wait(30)

    def release(self) -> None:
        self._go.set()
        self.ended.result(30)


def until_photos(turns: Turns, photos: int) -> None:
    while turns.load.photos < photos:
        threading.Event().wait(0.001)


def test_nobody_computes_beside_another(pool: ThreadPoolExecutor) -> None:
    turns, inside, most = Turns(8, 30), [0], [0]

    def compute() -> None:
        with turns.turn():
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.002)
            inside[0] -= 1

    for each in [pool.submit(compute) for _ in range(8)]:
        each.result(30)
    assert most == [1]
    assert turns.load.served == 8


def test_those_who_wait_are_called_in_the_order_they_came(pool: ThreadPoolExecutor) -> None:
    turns, order = Turns(8, 30), list[int]()
    occupied = Occupied(turns, pool)

    def come(number: int) -> None:
        with turns.turn():
            order.append(number)

    waiting = []
    for number in range(5):
        waiting.append(pool.submit(come, number))
        until_photos(turns, number + 2)
    occupied.release()
    for each in waiting:
        each.result(30)
    assert order == [0, 1, 2, 3, 4]


def test_who_finds_the_queue_full_is_refused_at_once_and_told_when_to_return(pool: ThreadPoolExecutor) -> None:
    turns = Turns(max_waiting=1, wait_limit_s=30)
    occupied = Occupied(turns, pool)
    turns.require_room()
    waiting = pool.submit(turns.in_turn(lambda: "answer"))
    until_photos(turns, 2)
    with pytest.raises(Overloaded) as caught, turns.turn():
        pytest.fail("a second photo was let in")
    with pytest.raises(Overloaded):
        turns.require_room()
    assert (caught.value.error_code, caught.value.status) == ("overloaded", 503)
    assert caught.value.retry_after_s >= 1
    assert turns.load.refused == 2
    occupied.release()
    assert waiting.result(30) == "answer"


def test_who_has_waited_too_long_is_refused_and_holds_no_place(pool: ThreadPoolExecutor) -> None:
    turns = Turns(max_waiting=1, wait_limit_s=0.01)
    occupied = Occupied(turns, pool)
    for _ in range(2):
        with pytest.raises(Overloaded), turns.turn():
            pytest.fail("two photos were in work")
    assert turns.load.photos == 1
    occupied.release()
    with turns.turn():
        assert turns.load.photos == 1


def test_a_photo_that_fails_passes_the_turn_on() -> None:
    turns = Turns(max_waiting=0, wait_limit_s=30)
    with pytest.raises(ZeroDivisionError), turns.turn():
        _ = 1 / 0
    with turns.turn():
        pass
    assert (turns.load.photos, turns.load.served) == (0, 2)


def test_an_idle_worker_with_no_places_to_wait_still_takes_a_photo() -> None:
    turns = Turns(max_waiting=0, wait_limit_s=30)
    turns.require_room()
    with turns.turn():
        pass


def test_the_time_in_the_queue_is_a_stage_of_the_request() -> None:
    with recording() as stages, Turns(1, 30).turn():
        pass
    assert list(stages) == ["wait"]
