"""Workers as processes: every photo comes back, whatever becomes of a worker. The work here is a stand-in's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.adapters.embedding.jobs import AHEAD, EmbedPhoto
from app.adapters.embedding.process_pool import ProcessPool
from app.errors import AppError, StartupError


def reverse() -> EmbedPhoto:
    return lambda photo: (os.getpid(), photo[::-1])


def die_of(word: bytes, once: Path | None = None) -> EmbedPhoto:
    """Ends its process by SIGKILL over one photo: always, or the first time."""

    def embed(photo: bytes) -> tuple[int, bytes]:
        if photo == word and (once is None or not once.exists()):
            if once is not None:
                once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid(), photo[::-1]

    return embed


def refuse() -> EmbedPhoto:
    raise StartupError("There are no weights.")


def vanish() -> EmbedPhoto:
    os._exit(7)


def threads_of_libraries() -> EmbedPhoto:
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    threads = cv2.getNumThreads(), options.intra_op_num_threads, options.inter_op_num_threads
    return lambda _: threads


def words(count: int) -> list[tuple[str, bytes]]:
    return [(str(n), f"photo {n}".encode()) for n in range(count)]


def results(build: Callable[[], EmbedPhoto], photos: list[tuple[str, bytes]], workers: int = 2) -> dict[str, Any]:
    given = list(ProcessPool(build, workers).embed(photos))
    assert len(given) == len(dict(given))  # none twice
    return dict(given)


def test_every_photo_comes_back_once_from_several_processes() -> None:
    photos = words(40)
    given = results(reverse, photos)
    assert {key: word for key, (_, word) in given.items()} == {key: word[::-1] for key, word in photos}
    assert len({pid for pid, _ in given.values()}) == 2


def test_without_a_photo_no_process_is_started() -> None:
    assert results(vanish, []) == {}


def test_a_photo_that_kills_every_worker_is_given_up_and_the_others_are_not() -> None:
    given = results(partial(die_of, b"photo 3"), words(12))
    assert [key for key, result in given.items() if result is None] == ["3"]
    assert len(given) == 12


def test_a_photo_whose_worker_died_once_is_embedded_by_another(tmp_path: Path) -> None:
    given = results(partial(die_of, b"photo 3", tmp_path / "died"), words(12))
    assert (tmp_path / "died").exists()
    assert given["3"][1] == b"3 otohp"


def test_photos_larger_than_a_pipe_do_not_lock_parent_and_workers() -> None:
    photos = [(str(n), bytes([n]) * 3_000_000) for n in range(12)]
    assert all(len(word) == 3_000_000 for _, word in results(reverse, photos).values())


def test_photos_are_taken_no_earlier_than_workers_need_them() -> None:
    taken = 0

    def counted() -> Iterator[tuple[str, bytes]]:
        nonlocal taken
        for photo in words(30):
            taken += 1
            yield photo

    for given, _ in enumerate(ProcessPool(reverse, 2).embed(counted())):
        assert taken <= given + 2 * AHEAD


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(AppError, match="There are no weights"):
        results(refuse, words(3))


def test_workers_that_end_before_they_are_ready_end_the_run() -> None:
    with pytest.raises(StartupError, match="exit code 7"):
        results(vanish, words(3))


def test_the_libraries_in_a_worker_use_one_thread() -> None:
    assert set(results(threads_of_libraries, words(2)).values()) == {(1, 1, 1)}
