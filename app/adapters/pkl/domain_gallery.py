"""One domain's PKL gallery: the snapshot that is searched, and what became of the file since."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.adapters.pkl.compile import NOT_COMPILED, ensure_snapshot
from app.adapters.pkl.reader import LeftOut
from app.adapters.pkl.snapshot_folder import Snapshot, Source, last_good_snapshot
from app.domain import EmbeddingSpec
from app.errors import AppError, SpecMismatch, StoreUnavailable, UnknownDomain
from app.gallery_matrix import GalleryMatrix

log = structlog.get_logger(__name__)

RETRY_AFTER_S = 60.0  # after a failure that has nothing to do with the file


@dataclass(frozen=True, slots=True)
class GalleryStatus:
    """What an operator wants to know of a domain's PKL gallery.

    :param compiled_at: ISO 8601, UTC, when the snapshot in use was made; None while there is none.
    :param error: why the file as it lies there now is not what is searched; None if it is.
    """

    source: str | None
    rows: int
    persons: int
    left_out: LeftOut
    compiled_at: str | None
    error: str | None


class DomainGallery:
    """Answers from the snapshot it holds, and replaces it beside the requests when the file changes.

    A file that cannot be used changes nothing but the status. A process that starts while such a file lies there
    takes the last snapshot that was good, so that all workers keep giving the same answers.

    :param locate: the domain's gallery file as it is now; raises UnknownDomain or SpecMismatch.
    :param cache: the domain's own folder for snapshots.
    :param every_s: how often, at most, the file is looked at.
    """

    def __init__(
        self, domain: str, locate: Callable[[], Path], cache: Path, spec: EmbeddingSpec, every_s: float
    ) -> None:
        self._domain = domain
        self._locate = locate
        self._cache = cache
        self._spec = spec
        self._every_s = every_s
        self._refreshing = threading.Lock()
        self._held: Snapshot | None = None
        self._error: AppError | None = None
        self._settled: str | None = None  # key of the file's state that was taken or refused
        self._seen: str | None = None  # key at the last look: a file still being written changes from look to look
        self._next_look = 0.0

    def current(self) -> GalleryMatrix:
        """What is searched now; the first call waits until it is compiled, later ones never wait.

        :raises UnknownDomain, SpecMismatch, StoreUnavailable: there is nothing to search.
        """
        held = self._held or self._first()
        if self._is_time_to_look():
            self._look_for_change()
        return held.matrix

    def take_now(self) -> GalleryMatrix:
        """Take the file as it is at this moment, and wait until it is compiled.

        :raises UnknownDomain, SpecMismatch, StoreUnavailable: it cannot be used.
        """
        with self._refreshing:
            self._refresh()
            if self._error is not None or self._held is None:
                raise self._nothing_to_search()
            return self._held.matrix

    @property
    def is_usable(self) -> bool:
        """Whether there is something to search."""
        return self._held is not None

    def status(self) -> GalleryStatus:
        """What is searched now, and what is wrong with the file."""
        error = self._error.message if self._error else None
        if self._held is None:
            return GalleryStatus(None, 0, 0, LeftOut(), None, error)
        facts = self._held.facts
        return GalleryStatus(facts.source, facts.rows, facts.persons, facts.left_out, facts.built_at, error)

    def _first(self) -> Snapshot:
        with self._refreshing:
            if self._held is None and self._is_time_to_look():
                self._refresh()
            if self._held is None:
                raise self._nothing_to_search()
            return self._held

    def _is_time_to_look(self) -> bool:
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + self._every_s
        return True

    def _look_for_change(self) -> None:
        """Notice a change, and have it compiled beside the requests once the file rests."""
        try:
            key = self._source().key
        except AppError as exc:
            self._complain(None, exc)
            self._settled = None
            return
        rests, self._seen = key == self._seen, key
        if rests and key != self._settled:
            threading.Thread(target=self._refresh_beside, name=f"pkl-{self._domain}", daemon=True).start()

    def _refresh_beside(self) -> None:
        if self._refreshing.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._refreshing.release()

    def _refresh(self) -> None:
        """Take over the file as it is now, or keep what is held and remember why."""
        key = None
        try:
            source = self._source()
            key = source.key
            self._adopt(ensure_snapshot(source))
        except AppError as exc:
            self._refuse(key, exc)
        self._seen = key

    def _source(self) -> Source:
        path = self._locate()
        try:
            return Source.of(self._domain, path, self._cache, self._spec)
        except OSError as exc:
            raise StoreUnavailable(f"{path.name} cannot be read: {exc.strerror}.", code="pkl_unreadable") from exc

    def _adopt(self, snapshot: Snapshot) -> None:
        self._error, self._settled, self._held = None, snapshot.key, snapshot
        facts = snapshot.facts
        log.info("pkl.snapshot_loaded", domain=self._domain, rows=facts.rows, persons=facts.persons)
        if facts.left_out.total:
            log.warning("pkl.rows_left_out", domain=self._domain, **facts.left_out.to_document())

    def _refuse(self, key: str | None, reason: AppError) -> None:
        if reason.error_code == NOT_COMPILED:
            self._next_look = time.monotonic() + RETRY_AFTER_S
            key = None
        if self._held is None and not isinstance(reason, UnknownDomain):
            self._held = last_good_snapshot(self._cache, self._spec)
        self._complain(key, reason)
        self._settled = key

    def _complain(self, key: str | None, reason: AppError) -> None:
        """Remember what is wrong; log it once per state of the file, however often it is met."""
        is_new = self._error is None or (self._settled, self._error.message) != (key, reason.message)
        self._error = reason
        if is_new:
            still_answering = self._held is not None
            log.error("pkl.not_taken", domain=self._domain, reason=reason.message, still_answering=still_answering)

    def _nothing_to_search(self) -> AppError:
        reason = self._error
        if isinstance(reason, UnknownDomain | SpecMismatch):
            return type(reason)(reason.message, details=reason.details)
        why = reason.message if reason else "It was not looked at yet."
        return StoreUnavailable(
            f"The gallery of domain '{self._domain}' cannot be searched. {why}", code="gallery_unavailable"
        )
