"""Spares a store that keeps failing: callers are told at once, and after a pause one of them tries it again.

Our own, because pybreaker 1.4 holds its lock while it calls: sixteen photos would come one after another, and a caller
would wait out the limits of those before it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.errors import StoreUnavailable
from app.services.profiles.records import (
    OBJECT_FORBIDDEN,
    ProfileDocuments,
    ProfileHit,
    ProfilePhotos,
    ProfileVectors,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When a store is spared.

    :param failures: so many in a row.
    :param pause_s: how long it is left alone before one call tries it again.
    """

    failures: int = 3
    pause_s: float = 10.0


PHOTOS = BreakerOptions(failures=16)  # as many as are fetched at a time: a few slow ones are no outage


@dataclass(frozen=True, slots=True)
class Outage:
    """A store that is being spared.

    :param since: when it was given up.
    :param reason: its last failure.
    """

    since: datetime
    reason: str


class CircuitBreaker:
    """Stands before one store; threads may share it.

    :param store: its name, for sentences.
    :param clock: seconds, for the pause.
    """

    def __init__(
        self, store: str, options: BreakerOptions | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._options = options or BreakerOptions()
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._outage: Outage | None = None
        self._try_at = 0.0

    @property
    def outage(self) -> Outage | None:
        """Why the store is spared; None while it is asked."""
        return self._outage

    def call(self, ask: Callable[[], T]) -> T:
        """What `ask` returns or raises.

        :raises StoreUnavailable: also at once, without asking, where the store is being spared.
        """
        self._admit()
        try:
            answer = ask()
        except StoreUnavailable as error:
            if error.error_code == OBJECT_FORBIDDEN:
                self._answered()
            else:
                self._failed(error)
            raise
        self._answered()
        return answer

    def _admit(self) -> None:
        with self._lock:
            if self._outage is None:
                return
            now = self._clock()
            if now < self._try_at:
                raise self._spared(self._outage)
            self._try_at = now + self._options.pause_s  # this call tries; the others are still told at once

    def _answered(self) -> None:
        with self._lock:
            self._failures = 0
            self._outage = None

    def _failed(self, error: StoreUnavailable) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < self._options.failures:
                return
            since = self._outage.since if self._outage else datetime.now(UTC)
            self._outage = Outage(since, error.message)
            self._try_at = self._clock() + self._options.pause_s

    def _spared(self, outage: Outage) -> StoreUnavailable:
        since = outage.since.isoformat(timespec="seconds")
        return StoreUnavailable(
            f"{self._store} has failed since {since} and is left alone for a moment: {outage.reason}",
            details={"since": since},
        )


class GuardedVectors:
    """`ProfileVectors` behind a breaker."""

    def __init__(self, vectors: ProfileVectors, breaker: CircuitBreaker) -> None:
        self._vectors = vectors
        self.breaker = breaker

    def dimensions(self, timeout_s: float) -> int | None:
        """As `ProfileVectors.dimensions`."""
        return self.breaker.call(lambda: self._vectors.dimensions(timeout_s))

    def nearest(self, probes: NDArray[np.float32], top_k: int, timeout_s: float) -> list[list[ProfileHit]]:
        """As `ProfileVectors.nearest`."""
        return self.breaker.call(lambda: self._vectors.nearest(probes, top_k, timeout_s))

    def close(self) -> None:
        """Close this process's client."""
        self._vectors.close()


class GuardedDocuments:
    """`ProfileDocuments` behind a breaker."""

    def __init__(self, documents: ProfileDocuments, breaker: CircuitBreaker) -> None:
        self._documents = documents
        self.breaker = breaker

    def ping(self, timeout_s: float) -> None:
        """As `ProfileDocuments.ping`."""
        self.breaker.call(lambda: self._documents.ping(timeout_s))

    def metadata_of(self, entity_ids: Sequence[str], timeout_s: float) -> dict[str, list[Mapping[str, Any]]]:
        """As `ProfileDocuments.metadata_of`."""
        return self.breaker.call(lambda: self._documents.metadata_of(entity_ids, timeout_s))

    def close(self) -> None:
        """Close this process's client."""
        self._documents.close()


class GuardedPhotos:
    """`ProfilePhotos` behind a breaker."""

    def __init__(self, photos: ProfilePhotos, breaker: CircuitBreaker) -> None:
        self._photos = photos
        self.breaker = breaker

    def photo(self, key: str, timeout_s: float) -> bytes | None:
        """As `ProfilePhotos.photo`."""
        return self.breaker.call(lambda: self._photos.photo(key, timeout_s))

    def close(self) -> None:
        """Close this process's client."""
        self._photos.close()
