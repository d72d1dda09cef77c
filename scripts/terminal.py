"""What scripts have in common: how they begin and end, and what they show in a terminal beside their results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.errors import AppError

FAILED = 1


class Closable(Protocol):
    """What holds connections or servers until it is closed."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


def exit_code(make: Callable[[], C], work: Callable[[C], int]) -> int:
    """What `work` returns for the container that `make` makes; one sentence and FAILED where it cannot be done."""
    try:
        with closing(make()) as container:
            return work(container)
    except AppError as error:
        sys.stderr.write(f"{error.message}\n")
        return FAILED


def positive(text: str) -> int:
    """The type of an argument that counts something.

    :raises ArgumentTypeError: less than 1; ValueError: no whole number.
    """
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


@contextmanager
def progress_bar(
    console: Console, title: str, total: int, note: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Callable[[int], None]]:
    """A bar that the yielded function moves on by so many steps; outside a terminal nothing but its last state.

    :param note: told too, how many of how many are done.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total)

        def advance(steps: int) -> None:
            progress.advance(task, steps)
            note(int(progress.tasks[0].completed), total)

        yield advance
