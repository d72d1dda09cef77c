"""Sends the demo's video to a running service, as a client does, and waits for what was found in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from app.errors import AppError
from app.services.video.job_records import JobState

_ASK_EVERY_S = 0.3
_TIMEOUT_S = 30

Document = dict[str, Any]


class NoResults(AppError):
    """There are no results to show, yet or at all."""

    code, status = "no_results", 503


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One video at one service.

    :param address: of the service, such as http://127.0.0.1:5001.
    :param key: the `Idempotency-Key`: sent again, the video is not processed again.
    """

    address: str
    token: str
    video: Path
    key: str

    def results(self, wait_s: float, waiting: Callable[[Document], None]) -> Document:
        """What was found in the video, once it is processed.

        :param waiting: shown the job's status again and again; may raise to wait no longer.
        :raises NoResults: the service refused, the job failed, or it takes longer than so many seconds.
        """
        job_id = self._started()
        deadline = time.monotonic() + wait_s
        while (status := self._status(job_id))["state"] != JobState.DONE:
            if JobState(status["state"]).is_final:
                raise NoResults(status["error"]["message"] if status["error"] else "The job was cancelled.")
            if time.monotonic() > deadline:
                raise NoResults(f"It is not done after {wait_s:.0f} s; see {self.address}/v3/status/{job_id}.")
            waiting(status)
            time.sleep(_ASK_EVERY_S)
        return self._results(job_id)

    def _started(self) -> str:
        """The job's id; one that ended without all of its results at an earlier start is replaced by a new one."""
        job_id = self._sent()
        if self._is_complete_or_under_way(job_id):
            return job_id
        self._ask("DELETE", f"/v3/jobs/{job_id}")
        return self._sent()

    def _is_complete_or_under_way(self, job_id: str) -> bool:
        state = self._status(job_id)["state"]
        if state != JobState.DONE:
            return not JobState(state).is_final
        results = self._results(job_id)
        searches = (results["gallery_search"], results["profile_search"])
        return all(search["status"] != "failed" for search in searches)

    def _sent(self) -> str:
        upload = {"files": {"file": (self.video.name, self.video.read_bytes())}, "data": {"mode": "face"}}
        return str(self._ask("POST", "/v3/process", self.key, **upload)["job_id"])

    def _status(self, job_id: str) -> Document:
        return self._ask("GET", f"/v3/status/{job_id}")

    def _results(self, job_id: str) -> Document:
        return self._ask("GET", f"/v3/results/{job_id}")

    def _ask(self, method: str, path: str, key: str | None = None, **upload: Any) -> Document:
        headers = {"Authorization": self.token} | ({"Idempotency-Key": key} if key else {})
        try:
            answer = requests.request(method, f"{self.address}{path}", headers=headers, timeout=_TIMEOUT_S, **upload)
            document: Document = answer.json()
        except (requests.RequestException, ValueError) as exc:
            raise NoResults(f"The service does not answer ({type(exc).__name__}).") from exc
        if document["status"] != "success":
            raise NoResults(document["error"]["message"])
        return document
