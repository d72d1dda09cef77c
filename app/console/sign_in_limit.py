"""Holds back whoever tries tokens: a few failures from an address, and it has to wait."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from app.errors import AppError

_ADDRESSES = 10_000  # remembered at most, so that a flood of addresses takes no memory


class TooManySignIns(AppError):
    """An address failed to sign in too often."""

    code, status = "too_many_sign_ins", 429


class SignInLimit:
    """Counts failed sign-ins by address, in this process: with several workers an address has that many times more.

    :param failures: how many are allowed within the time.
    :param within_s: seconds after which a failure is forgotten.
    """

    def __init__(self, failures: int = 5, within_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._within_s = within_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def require(self, address: str) -> None:
        """:raises TooManySignIns: the address has to wait."""
        with self._lock:
            times = self._failed.get(address, deque())
            while times and times[0] <= self._clock() - self._within_s:
                times.popleft()
            if len(times) >= self._failures:
                wait_s = round(times[0] + self._within_s - self._clock()) or 1
                raise TooManySignIns(f"Too many failed sign-ins from your address; try again in {wait_s} seconds.")

    def failed(self, address: str) -> None:
        """Remember a failure."""
        with self._lock:
            self._failed.setdefault(address, deque(maxlen=self._failures)).append(self._clock())
            self._failed.move_to_end(address)
            if len(self._failed) > _ADDRESSES:
                self._failed.popitem(last=False)
