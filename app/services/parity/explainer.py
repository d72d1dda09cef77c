"""Looks for the cause of each discrepancy, in a thread of its own and with a budget."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from app.errors import AppError, StoreUnavailable
from app.services.parity.causes import CauseFinder
from app.services.parity.parity_store import Explanation, ParityStore
from app.services.parity.queue_worker import QueueOptions, QueueWorker
from app.services.parity.records import ComparisonRecord, most_serious

log = structlog.get_logger(__name__)

_TRIES = 3
_PAUSE_S = 2.0  # after the database was slow or away


@dataclass(frozen=True, slots=True, eq=False)
class Unexplained:
    """A comparison whose cause is not known yet.

    :param probes: embeddings of the faces that differ, (D,) float64, by the face's place; held in memory only.
    """

    record: ComparisonRecord
    probes: dict[int, NDArray[np.float64]]


class Explainer:
    """Explains discrepancies one at a time, and rests after each for as long as it took.

    :param finder: looks at one face.
    :param capacity: discrepancies that may wait; those beyond stay without a cause.
    """

    def __init__(self, finder: CauseFinder, store: ParityStore, capacity: int) -> None:
        self._finder = finder
        self._store = store
        self._lock = threading.Lock()
        self._explained = self._unexamined = self._failures = 0
        options = QueueOptions("parity-explainer", capacity, retry_s=_PAUSE_S, rests=True)
        self._worker: QueueWorker[Unexplained] = QueueWorker(self._work, options)

    def offer(self, item: Unexplained) -> None:
        """Have it explained, unless too many are waiting."""
        if not self._worker.offer(item):
            self._count(explained=False)

    def counts(self) -> tuple[int, int]:
        """How many were explained, and how many were given up."""
        with self._lock:
            return self._explained, self._unexamined

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that wait are explained; False where that takes longer."""
        return self._worker.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Explain what is waiting, within the time."""
        self._worker.close(timeout_s)

    def _work(self, batch: list[Unexplained]) -> bool:
        (item,) = batch
        try:
            self._explain(item)
        except Exception as error:  # a discrepancy that cannot be looked at must not end the thread
            return self._not_explained(error)
        self._failures = 0
        self._count(explained=True)
        return True

    def _not_explained(self, error: Exception) -> bool:
        self._failures += 1
        if isinstance(error, StoreUnavailable) and self._failures < _TRIES:
            return False
        reason = error.message if isinstance(error, AppError) else type(error).__name__
        log.warning("DUAL-MODE cause not found", reason=reason)
        self._failures = 0
        self._count(explained=False)
        return True

    def _explain(self, item: Unexplained) -> None:
        record = item.record
        findings = {
            face: self._finder.find(record.domain, record.faces[face], probe, record.at)
            for face, probe in item.probes.items()
        }
        cause = most_serious(finding.cause for finding in findings.values())
        faces: list[dict[str, Any]] = [{"face": face} | finding.proof for face, finding in findings.items()]
        persons = sorted(set[str]().union(*(finding.persons for finding in findings.values())))
        self._store.explain(record, Explanation(cause, {"faces": faces}, persons))
        log.info("DUAL-MODE cause", request_id=record.request_id, domain=record.domain, cause=str(cause))

    def _count(self, explained: bool) -> None:
        with self._lock:
            if explained:
                self._explained += 1
            else:
                self._unexamined += 1
