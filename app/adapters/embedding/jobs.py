"""What pools of embedding workers have in common: which photo is next, and what becomes of a dead worker's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

AHEAD = 2  # photos a worker has at a time: the next one waits there, so that no worker waits for the parent

_ATTEMPTS = 2  # the death of a worker may be an accident; a second one over the same photo is not

EmbedPhoto = Callable[[bytes], Any]  # made in the worker; what it returns is the caller's business


@dataclass(slots=True)
class Job:
    """A photo on its way."""

    key: str
    photo: bytes
    deaths: int = 0


class Backlog:
    """The photos that no worker has.

    :param photos: keys and bytes; taken one by one, as late as possible.
    """

    def __init__(self, photos: Iterable[tuple[str, bytes]]) -> None:
        self._photos = iter(photos)
        self._again: deque[Job] = deque()

    def next(self) -> Job | None:
        """The next photo, or None."""
        if self._again:
            return self._again.popleft()
        item = next(self._photos, None)
        return None if item is None else Job(*item)

    def take_back(self, jobs: Sequence[Job], *, blame_first: bool) -> list[str]:
        """Put the photos of a dead worker back.

        :param blame_first: the worker was at work on the first of them.
        :return: the key of that one, where it has now cost two workers; it is given up.
        """
        if jobs and blame_first:
            jobs[0].deaths += 1
        lost = [job.key for job in jobs if job.deaths >= _ATTEMPTS]
        self._again.extend(job for job in jobs if job.deaths < _ATTEMPTS)
        return lost
