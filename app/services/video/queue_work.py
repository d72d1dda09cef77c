"""What a worker does with the entries of the queue, and what the queue may lack: the port between the two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owed:
    """What the queue lacks: so many tickets, and entries for these jobs' webhooks."""

    tickets: int
    webhooks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Handlers:
    """What a worker does; each runs in a thread, and what it raises is tried again.

    :param run: works on the job whose turn it is for a ticket; in how many seconds the ticket is to come again, or
        None where it is used up.
    :param deliver: sends the webhook of a job; answers as `run`.
    :param owed: given the tickets and the jobs whose webhooks are in the queue.
    :param tidy: removes what is kept no longer; called when a worker starts, and then once an hour.
    :param stopping: called once, when the worker was told to end.
    """

    run: Callable[[int], float | None]
    deliver: Callable[[str], float | None]
    owed: Callable[[Collection[int], Collection[str]], Owed]
    tidy: Callable[[], object]
    stopping: Callable[[], None]
