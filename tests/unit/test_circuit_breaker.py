"""A store that keeps failing is left alone for a moment, and found again without anybody's help."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import Conflict, StoreTimeout, StoreUnavailable
from app.services.profiles.circuit_breaker import BreakerOptions, CircuitBreaker, GuardedPhotos
from app.services.profiles.records import OBJECT_FORBIDDEN


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Counts what it is asked, and fails as it is told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    def ask(self) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return "answer"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("MongoDB", BreakerOptions(failures=3, pause_s=10), clock)


def fail(breaker: CircuitBreaker, store: Store, times: int) -> StoreUnavailable:
    for _ in range(times):
        with pytest.raises(StoreUnavailable) as failed:
            breaker.call(store.ask)
    return failed.value


def test_after_three_failures_in_a_row_the_store_is_not_asked_and_callers_are_told_since_when_and_why(
    breaker: CircuitBreaker,
) -> None:
    store = Store()
    store.error = StoreTimeout("MongoDB did not answer within the time limit.")
    fail(breaker, store, 3)
    refused = fail(breaker, store, 5)
    assert store.asked == 3
    assert breaker.outage is not None
    assert refused.details["since"] == breaker.outage.since.isoformat(timespec="seconds")
    assert "MongoDB has failed since" in refused.message
    assert "did not answer within the time limit" in refused.message


def test_a_success_between_failures_keeps_the_store_in_use(breaker: CircuitBreaker) -> None:
    store = Store()
    for _ in range(4):
        store.error = StoreUnavailable("down")
        fail(breaker, store, 2)
        store.error = None
        assert breaker.call(store.ask) == "answer"
    assert store.asked == 12


def test_after_the_pause_one_call_tries_and_a_store_that_is_back_is_used_again(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    store = Store()
    store.error = StoreUnavailable("down")
    fail(breaker, store, 3)
    clock.now += 10
    store.error = None
    assert breaker.call(store.ask) == "answer"
    assert breaker.outage is None
    store.error = StoreUnavailable("down")
    fail(breaker, store, 2)
    assert breaker.outage is None, "it counts from the start"


def test_a_store_that_is_still_down_is_tried_once_for_each_pause_and_its_outage_keeps_its_beginning(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    store = Store()
    store.error = StoreUnavailable("down")
    fail(breaker, store, 3)
    began = breaker.outage and breaker.outage.since
    for _ in range(3):
        clock.now += 10
        fail(breaker, store, 4)
    assert store.asked == 6
    assert breaker.outage is not None
    assert breaker.outage.since == began


def test_while_one_call_tries_the_others_do_not_wait_for_it(breaker: CircuitBreaker, clock: Clock) -> None:
    store = Store()
    store.error = StoreUnavailable("down")
    fail(breaker, store, 3)
    clock.now += 10
    trying, released = threading.Event(), threading.Event()

    def slow() -> str:
        trying.set()
        assert released.wait(30)
        return "answer"

    with ThreadPoolExecutor(1) as pool:
        trial = pool.submit(breaker.call, slow)
        assert trying.wait(30)
        fail(breaker, store, 5)
        released.set()
        assert trial.result() == "answer"
    assert store.asked == 3


def test_calls_to_a_store_that_works_run_beside_each_other(breaker: CircuitBreaker) -> None:
    together = threading.Barrier(16)
    with ThreadPoolExecutor(16) as pool:
        arrived = list(pool.map(lambda _: breaker.call(lambda: together.wait(30)), range(16)))
    assert sorted(arrived) == list(range(16))


def test_what_is_not_the_stores_failure_does_not_count_against_it(breaker: CircuitBreaker) -> None:
    store = Store()
    store.error = Conflict("The index holds vectors of another model.")
    for _ in range(5):
        with pytest.raises(Conflict):
            breaker.call(store.ask)
    assert (store.asked, breaker.outage) == (5, None)


def test_forbidden_photos_do_not_keep_the_others_from_being_fetched(breaker: CircuitBreaker) -> None:
    class Photos:
        def photo(self, key: str, timeout_s: float) -> bytes | None:
            if key == "allowed":
                return b"photo"
            raise StoreUnavailable("S3 does not let us have this object.", code=OBJECT_FORBIDDEN)

        def close(self) -> None: ...

    photos = GuardedPhotos(Photos(), breaker)
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            photos.photo("forbidden", 1)
    assert photos.photo("allowed", 1) == b"photo"
