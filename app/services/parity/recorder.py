"""Keeps every comparison of dual mode, off the request's path: queued, written in batches, then explained."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import numpy as np
import structlog

from app.domain import Face
from app.errors import AppError, StoreUnavailable
from app.services.comparison import differing_faces
from app.services.dual_mode import DualAnswer
from app.services.parity.explainer import Explainer, Unexplained
from app.services.parity.loss_file import LossFile
from app.services.parity.parity_store import ParityStore, SealedFace
from app.services.parity.queue_worker import QueueOptions, QueueWorker
from app.services.parity.records import Cause, ComparisonRecord, FaceComparison, Source, Verdict

log = structlog.get_logger(__name__)

_BATCH = 200
_GATHER_S = 0.5  # a row is written within a second of its answer
_PRUNE_EVERY_S = 3600.0
_DATA_ERRORS = ("22", "23")  # SQLSTATE classes that tell about a batch's values: trying again would not help

Seal = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """How comparisons are kept.

    :param spec_key: of the embeddings that were compared.
    :param capacity: comparisons that may wait while the database is away; what comes beyond is lost and counted.
    :param retention_days: older rows are deleted.
    :param source: whether requests are answered, or photos compared again.
    :param seal: encrypts the probe embeddings of discrepancies, which are then kept; None keeps none.
    :param losses: where counts of lost comparisons wait that could not be noted in the database; None for nowhere.
    """

    spec_key: str
    capacity: int = 2000
    retention_days: int = 90
    source: Source = "live"
    seal: Seal | None = None
    losses: LossFile | None = None


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    """What became of this process's comparisons.

    :param lost: could not be queued or written; also by processes before it that could not note so.
    :param waiting: not written yet.
    :param unexamined: discrepancies whose cause nobody will look for: too many were waiting, or the database was away.
    :param problem: why comparisons cannot be written now.
    """

    written: int
    lost: int
    waiting: int
    explained: int
    unexamined: int
    problem: str | None


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    record: ComparisonRecord
    probes: dict[int, np.ndarray[Any, np.dtype[np.float64]]]  # of the faces that differ


class ParityRecorder:
    """Takes comparisons from the requests; neither waits for anything nor raises.

    :param explainer: finds out why galleries differ, where that is not known at once.
    """

    def __init__(self, store: ParityStore, explainer: Explainer, options: RecorderOptions) -> None:
        self._store = store
        self._explainer = explainer
        self._options = options
        self._lock = threading.Lock()
        self._lost, self._noted_lost = Counter[str](), Counter[str]()
        self._written = 0
        self._problem: str | None = None
        self._next_prune = time.monotonic()
        queue = QueueOptions("parity-writer", options.capacity, _BATCH, _GATHER_S)
        self._worker: QueueWorker[_Entry] = QueueWorker(self._write, queue, self._prune_if_due)

    def record(self, answer: DualAnswer, faces: Sequence[Face]) -> None:
        """Keep the comparison; where that cannot be, it is counted as lost.

        :param faces: the probe faces that were compared, in the answer's order.
        """
        try:
            entry = _entry(answer, faces, self._options)
        except Exception:  # the shadow's boundary: an answer that was given must not fail afterwards
            log.exception("DUAL-MODE comparison not recorded")
            self._count_lost([answer.domain])
            return
        if not self._worker.offer(entry):
            self._count_lost([answer.domain])

    def status(self) -> RecorderStatus:
        """What became of this process's comparisons."""
        with self._lock:
            lost, written, problem = self._lost.total(), self._written, self._problem
        explained, unexamined = self._explainer.counts()
        return RecorderStatus(written, lost, self._worker.waiting, explained, unexamined, problem)

    def start(self) -> None:
        """See to the retention from now on, and to what earlier processes lost, whether or not anything is recorded."""
        if self._options.losses:
            self._count_lost(self._options.losses.take())
        self._worker.start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was recorded is written and explained; False where that takes longer."""
        started = time.monotonic()
        written = self._worker.flush(timeout_s)
        return written and self._explainer.flush(max(0.0, timeout_s - (time.monotonic() - started)))

    def close(self, timeout_s: float) -> None:
        """Write and explain what is waiting, within the time; what is left is lost, and said."""
        left = self._worker.close(timeout_s / 2)
        if left:
            log.warning("DUAL-MODE comparisons lost at the end", comparisons=len(left))
            self._count_lost([entry.record.domain for entry in left])
        if self._options.losses:
            self._options.losses.add(self._unnoted_losses())
        self._explainer.close(timeout_s / 2)

    def _unnoted_losses(self) -> Counter[str]:
        with self._lock:
            return self._lost - self._noted_lost

    def _write(self, batch: list[_Entry]) -> bool:
        lost = self._unnoted_losses()
        try:
            self._store.write([entry.record for entry in batch], self._sealed(batch), lost)
        except Exception as error:  # a batch that cannot be written must not end the thread
            return self._not_written(batch, error)
        with self._lock:
            self._noted_lost += lost
            self._written += len(batch)
            self._problem = None
        self._hand_on(batch)
        return True

    def _not_written(self, batch: list[_Entry], error: Exception) -> bool:
        """False where it may be tried again: the database is away, and may come back before the queue is full."""
        if isinstance(error, StoreUnavailable) and error.details.get("sqlstate", "")[:2] not in _DATA_ERRORS:
            if self._problem is None:
                log.warning("DUAL-MODE comparisons wait to be written", reason=error.message)
            with self._lock:
                self._problem = error.message
            return False
        reason = error.message if isinstance(error, AppError) else type(error).__name__
        log.error("DUAL-MODE comparisons lost", comparisons=len(batch), reason=reason)
        self._count_lost([entry.record.domain for entry in batch])
        return True

    def _hand_on(self, batch: list[_Entry]) -> None:
        for entry in batch:
            if entry.probes and entry.record.cause is None:
                self._explainer.offer(Unexplained(entry.record, entry.probes))

    def _sealed(self, batch: list[_Entry]) -> list[SealedFace]:
        seal = self._options.seal
        if seal is None:
            return []
        return [
            SealedFace(entry.record.record_id, face, seal(probe.astype("<f4").tobytes()))
            for entry in batch
            for face, probe in entry.probes.items()
        ]

    def _count_lost(self, domains: Sequence[str] | Counter[str]) -> None:
        with self._lock:
            self._lost.update(domains)

    def _prune_if_due(self) -> None:
        if time.monotonic() < self._next_prune:
            return
        try:
            deleted = self._store.prune(self._options.retention_days)
        except AppError as error:
            log.warning("parity.not_pruned", reason=error.message)
            deleted = 0
        # While there is more to delete the next batch follows at the next idle moment.
        self._next_prune = time.monotonic() + (0.0 if deleted else _PRUNE_EVERY_S)


def _entry(answer: DualAnswer, faces: Sequence[Face], options: RecorderOptions) -> _Entry:
    differing = set() if answer.error else {index for index, _ in differing_faces(answer.comparison)}
    compared = zip_longest(answer.pkl, answer.pgvector)
    record = ComparisonRecord(
        record_id=str(uuid.uuid4()),
        request_id=str(structlog.contextvars.get_contextvars().get("request_id", "")),
        at=datetime.now(UTC),
        domain=answer.domain,
        spec_key=options.spec_key,
        source=options.source,
        answered_by=answer.answered_by,
        faces=tuple(
            FaceComparison(face.box, pkl.matches if pkl else (), pgvector.matches if pgvector else (), i in differing)
            for i, (face, (pkl, pgvector)) in enumerate(zip(faces, compared, strict=True))
        ),
        pkl_ms=None if answer.silent == "pkl" else answer.pkl_ms,
        pgvector_ms=None if answer.silent == "pgvector" else answer.pgvector_ms,
        verdict=_verdict(answer, differing),
        cause=Cause(answer.failure) if answer.failure else None,
        proof={"error": {"code": answer.error.error_code, "message": answer.error.message}} if answer.error else None,
    )
    return _Entry(record, {index: faces[index].embedding for index in differing})


def _verdict(answer: DualAnswer, differing: set[int]) -> Verdict:
    if answer.error is not None:
        return Verdict.CANDIDATE_FAILED
    return Verdict.DIFFER if differing else Verdict.AGREE
