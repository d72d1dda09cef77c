"""A store's client that nobody waits for longer than they said, made once in each process."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.adapters.bounded_client import BoundedClient
from app.errors import StoreTimeout


class Client:
    """Answers when it is let, and says whether it was closed."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.closed = False

    def ask(self) -> str:
        self.may_answer.wait(30)
        return "answer"

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made() -> Iterator[list[Client]]:
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.may_answer.set()


@pytest.fixture
def bounded(made: list[Client]) -> BoundedClient[Client]:
    def make() -> Client:
        made.append(Client())
        return made[-1]

    return BoundedClient(make, threads=2, store="S3")


def test_a_call_that_hangs_is_left_at_its_limit_and_the_next_one_is_answered(
    bounded: BoundedClient[Client], made: list[Client]
) -> None:
    with pytest.raises(StoreTimeout, match="S3 did not answer"):
        bounded.call(lambda client, _left_s: client.ask(), 0.05)
    made[0].may_answer.set()
    assert bounded.call(lambda client, _left_s: client.ask(), 30) == "answer"


def test_calls_that_wait_behind_hanging_ones_are_left_at_their_limits_too(bounded: BoundedClient[Client]) -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(bounded.call, lambda client, _left_s: client.ask(), 0.05) for _ in range(6)]
        assert all(isinstance(each.exception(30), StoreTimeout) for each in asked)


def test_a_client_whose_making_hangs_keeps_nobody(made: list[Client]) -> None:
    looked_up = threading.Event()

    def make() -> Client:
        looked_up.wait(30)
        made.append(Client())
        made[-1].may_answer.set()
        return made[-1]

    bounded = BoundedClient(make, threads=2, store="MongoDB")
    for _ in range(4):
        with pytest.raises(StoreTimeout):
            bounded.call(lambda client, _left_s: client.ask(), 0.05)
    looked_up.set()
    assert bounded.call(lambda client, _left_s: client.ask(), 30) == "answer"
    assert len(made) == 1


def test_a_client_is_made_when_first_asked_and_again_after_it_was_closed(
    bounded: BoundedClient[Client], made: list[Client]
) -> None:
    assert made == []
    for _ in range(2):
        bounded.call(lambda client, _left_s: client.may_answer.set(), 30)
    bounded.close()
    assert [client.closed for client in made] == [True]
    bounded.call(lambda client, _left_s: client.may_answer.set(), 30)
    assert len(made) == 2
