"""Asks a running service to recognise a photo, to see who answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from app.errors import BadRequest, StoreUnavailable

_TIMEOUT_S = 60
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What is sent where.

    :param address: of the service, such as http://127.0.0.1:5001.
    """

    address: str
    token: str
    photo: bytes
    domain: str | None = None

    def mode(self) -> str:
        """The mode that an answer of `/recognize` names.

        :raises StoreUnavailable: the service does not answer, or refuses the photo.
        """
        try:
            response = requests.post(
                f"{self.address.rstrip('/')}/recognize",
                headers={"Authorization": self.token},
                files={"image": ("probe.jpg", self.photo)},
                data={"domain": self.domain} if self.domain else None,
                timeout=_TIMEOUT_S,
            )
            return _mode(response.status_code, response.json())
        except (requests.RequestException, ValueError) as error:
            raise StoreUnavailable(f"The service does not answer ({type(error).__name__}).") from error

    def wait_for(self, mode: str, wait_s: float, clock: Callable[[], float] = time.monotonic) -> str:
        """The mode of the answer as soon as it is this one, else the last after so many seconds.

        :raises StoreUnavailable: the service does not answer even then.
        """
        deadline = clock() + wait_s
        while True:
            try:
                seen = self.mode()
                if seen == mode or clock() >= deadline:
                    return seen
            except StoreUnavailable:
                if clock() >= deadline:
                    raise
            time.sleep(_PAUSE_S)


def token_in(file: Path) -> str:
    """The token that a file holds; on a command line every user of the machine could read it.

    :raises BadRequest: there is none.
    """
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise BadRequest(f"{file} holds no token, or cannot be read.")
    return token


def photo_in(file: Path | None) -> bytes:
    """The photo to ask with: a demo face where none is named.

    :raises BadRequest: it cannot be read.
    :raises StartupError: none is named, and the demo's faces are not installed.
    """
    if file is None:
        from scripts import demo_faces

        return demo_faces.known_probe()[0]
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}.") from error


def _mode(status: int, answer: dict[str, Any]) -> str:
    if status != requests.codes.ok:
        raise StoreUnavailable(f"The service refused the probe: {answer.get('error', {}).get('message', status)}")
    mode = str(answer.get("mode"))
    return f"dual, {answer.get('answered_by')} answers" if mode == "dual" else mode
