"""How many requests of a worker may last: videos that arrive slowly, and streams, each of which holds a thread."""

from __future__ import annotations

import threading


class Places:
    """The threads that such requests share; the others stay free for what is answered at once.

    The last of several is for a video: whoever follows a job can ask for its status instead.

    :param count: so many at a time.
    """

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._free_for_streams = threading.BoundedSemaphore(max(1, count - 1))

    def take_for_video(self) -> bool:
        """Whether there was one; to be given back by `leave`."""
        return self._free.acquire(blocking=False)

    def take_for_stream(self) -> bool:
        """Whether there was one; to be given back by `leave_stream`."""
        if not self._free_for_streams.acquire(blocking=False):
            return False
        if self._free.acquire(blocking=False):
            return True
        self._free_for_streams.release()
        return False

    def leave(self) -> None:
        """A video has arrived."""
        self._free.release()

    def leave_stream(self) -> None:
        """A stream has ended."""
        self._free.release()
        self._free_for_streams.release()
