"""The PKL galleries as they are now in every worker: the compiled file with the journal's changes over it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from app.adapters.pkl.fold import FoldReport, fold_journal
from app.adapters.pkl.journal import JOURNAL_NAME, JournalReader, JournalState, PklJournal
from app.adapters.pkl.snapshots import PklSnapshots
from app.errors import StoreUnavailable
from app.gallery_matrix import GalleryMatrix
from app.gallery_view import GalleryView, keys_of

log = structlog.get_logger(__name__)


class LivePklGalleries:
    """The PKL galleries of all domains, each change of a person counting at the next look.

    Make one per process, after the fork: it holds connections to the journals.

    :param snapshots: the compiled files.
    :param galleries: one folder per domain; the journal lies in it, wherever the PKL does.
    :param on_unsettled: told of a domain whose journal holds a change that was not brought to its end.
    """

    def __init__(self, snapshots: PklSnapshots, galleries: Path, on_unsettled: Callable[[str], None]) -> None:
        self._snapshots = snapshots
        self._galleries = galleries.absolute()
        self._on_unsettled = on_unsettled
        self._views: dict[str, _DomainView] = {}

    def domains(self) -> frozenset[str]:
        """The domains that can be searched now."""
        return self._snapshots.domains()

    def current(self, domain: str) -> GalleryView:
        """What is searched now in a domain.

        :raises UnknownDomain, SpecMismatch, StoreUnavailable: as `PklSnapshots.current`.
        :raises StoreUnavailable: code `journal_unavailable`, its journal could never be read.
        """
        base = self._snapshots.current(domain)
        view = self._views.get(domain) or self._views.setdefault(domain, _DomainView(self.journal(domain).path))
        found, is_settled = view.over(base)
        if not is_settled:
            self._on_unsettled(domain)
        return found

    def journal(self, domain: str) -> PklJournal:
        """The domain's journal, whether or not there is one yet."""
        return PklJournal(self._galleries / domain / JOURNAL_NAME)

    def fold(self, domain: str) -> FoldReport:
        """Write the journal's changes into the PKL; the caller is the domain's only writer.

        :raises UnknownDomain: the domain has no PKL.
        :raises StoreUnavailable: the PKL cannot be read or written; the journal still holds every change.
        """
        return fold_journal(self._snapshots, domain, self.journal(domain), self._galleries / domain)

    def close(self) -> None:
        """Let go of the journals."""
        for view in self._views.values():
            view.close()


class _DomainView:
    """One domain's view, made anew when its file or its journal changed."""

    def __init__(self, journal: Path) -> None:
        self._reader = JournalReader(journal)
        self._lock = threading.Lock()
        self._state: JournalState | None = None
        self._base: GalleryMatrix | None = None
        self._keys: NDArray[np.int64] | None = None
        self._view: GalleryView | None = None

    def over(self, base: GalleryMatrix) -> tuple[GalleryView, bool]:
        """The view of this file, and whether every change in its journal has come to its end."""
        with self._lock:
            self._follow_journal()
            if base is not self._base:
                self._base, self._keys, self._view = base, None, None
            if self._view is None:
                self._view = self._made(base)
            return self._view, self._state is None or self._state.is_settled

    def close(self) -> None:
        with self._lock:
            self._reader.close()

    def _follow_journal(self) -> None:
        try:
            changed = self._reader.changed()
        except StoreUnavailable as error:
            if self._state is None:
                raise
            log.error("pkl.journal_unreadable", reason=error.message)  # what was read last still holds
            return
        if changed is not None:
            self._state, self._view = changed, None

    def _made(self, base: GalleryMatrix) -> GalleryView:
        if self._state is None or not len(self._state.overlay.keys):
            return GalleryView(base.parts[0], None)
        if self._keys is None:
            self._keys = keys_of(base.images)
        return GalleryView.over(base, self._keys, self._state.overlay)
