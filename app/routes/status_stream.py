"""A job's status as server-sent events (WHATWG HTML, "Server-sent events"), for browsers and dashboards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

from app.errors import AppError, NotFound, StoreUnavailable
from app.routes.places import Places
from app.services.video.job_records import JobState

_POLL_S = 1.0
_HEARTBEAT_S = 15.0  # so often a proxy hears something, and we hear whether the client is still there
_RECONNECT_MS = 2000

Status = dict[str, Any]


class TooManyStreams(AppError):
    """As many clients follow jobs as this worker has threads for."""

    code, status = "too_many_streams", 503


class StatusStreams:
    """The streams of one worker process; each occupies a thread for as long as it lasts."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._ending = False

    def response(self, read: Callable[[], Status]) -> Response:
        """The events of a job until it ends, or is removed.

        :param read: asks for its status.
        :raises NotFound: there is no such job; TooManyStreams.
        """
        first = read()
        if not self._places.take_for_stream():
            raise TooManyStreams("Too many clients follow jobs here just now; ask /v3/status once in a while instead.")
        response = Response(self._events(first, read), mimetype="text/event-stream")
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the events back
        response.call_on_close(self._places.leave_stream)
        return response

    def end(self) -> None:
        """Let all streams end at their next look, because the process ends: clients reconnect to another."""
        self._ending = True

    def _events(self, first: Status, read: Callable[[], Status]) -> Iterator[str]:
        yield f"retry: {_RECONNECT_MS}\n\n"
        told: Status = {}
        status, number, silent_since = first, 0, time.monotonic()
        while not self._ending:
            if _without_guess(status) != told:
                told, number, silent_since = _without_guess(status), number + 1, time.monotonic()
                yield _event("status", number, status)
            elif time.monotonic() - silent_since > _HEARTBEAT_S:
                silent_since = time.monotonic()
                yield ": still here\n\n"
            if _is_over(status):
                yield _event("end", number + 1, {"state": status["state"]})
                return
            time.sleep(_POLL_S)
            status = _next(read, status)


def _next(read: Callable[[], Status], last: Status) -> Status:
    """The status now; the last one while the database is away."""
    try:
        return read()
    except NotFound:
        return {"state": "deleted"}
    except StoreUnavailable:
        return last


def _is_over(status: Status) -> bool:
    return status["state"] == "deleted" or JobState(status["state"]).is_final


def _without_guess(status: Status) -> Status:
    """What counts as news: the time left changes by itself."""
    return {name: value for name, value in status.items() if name != "seconds_left"}


def _event(name: str, number: int, document: Status) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(document)}\n\n"
