"""Carries a change of persons out in the database, the PKL's journal and the photo files: all of it, or none.

The database's COMMIT decides. Before it, everything is staged where nobody counts it; after it, the rest is repeated
until it is done, by this process or, should it die, by the next one that looks (`settle`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import structlog

from app.errors import AppError
from app.gallery_change import GalleryChange, UnsettledChange
from app.services.people import person_sql as sql

if TYPE_CHECKING:
    from app.adapters.gallery_files import GalleryFiles
    from app.adapters.gallery_lock import GalleryLocks
    from app.adapters.pkl.live import LivePklGalleries
    from app.adapters.postgres import Cursor, Database

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LIMIT_S = 60.0  # of a change: a person with thousands of photos may be renamed
_ASK_S = 5.0
_RETRY_AFTER_S = 30.0


class GalleryChanges:
    """The one way in which persons change, whoever asks for it.

    :param pkl: the PKL galleries with their journals.
    :param follow: brings what was committed into an index outside of the database; whether nothing is left to bring.
    """

    def __init__(
        self,
        database: Database,
        pkl: LivePklGalleries,
        files: GalleryFiles,
        locks: GalleryLocks,
        follow: Callable[[], bool] | None = None,
    ) -> None:
        self._database = database
        self._pkl = pkl
        self._files = files
        self._locks = locks
        self._follow = follow or (lambda: True)
        self._next_try: dict[str, float] = {}

    def carry_out(self, domain: str, work: Callable[[Cursor], tuple[T, GalleryChange]]) -> T:
        """Run `work` in a transaction and do in the PKL and the files what it returns.

        Dual mode's readers see both galleries before the change or both after it.

        :param work: writes to the database; it alone changes the domain's persons while it runs.
        :raises AppError: whatever `work` raises; nothing was changed.
        :raises StoreUnavailable: the database or the journal cannot be written, or others did not let us in time.
        """
        with self._locks.writing(domain):
            self._settle(domain)
            try:
                value, change = self._commit(domain, work)
            except BaseException:
                self._settle_if_possible(domain)
                raise
            self._finish(domain, UnsettledChange(change.id, change.moves, change.forget))
            return value

    def settle_beside(self, domain: str) -> None:
        """Settle in a thread of its own, because an answer must not wait for it; unless a living writer is at it."""
        now = time.monotonic()
        if now >= self._next_try.get(domain, 0.0):
            self._next_try[domain] = now + _RETRY_AFTER_S
            threading.Thread(target=self._settle_alone, args=(domain,), name=f"settle-{domain}", daemon=True).start()

    def settle(self, domain: str) -> None:
        """Bring to its end what a process that died left behind.

        :raises StoreUnavailable: the database, which knows what happened, cannot be asked.
        """
        with self._locks.writing(domain):
            self._settle(domain)

    def _settle_alone(self, domain: str) -> None:
        try:
            with self._locks.writing(domain, wait_s=0):
                self._settle(domain)
        except AppError as error:
            if error.error_code == "gallery_busy":
                self._next_try[domain] = 0.0  # a writer is at work: only if it dies there is something to settle
            else:
                log.warning("gallery.not_settled", domain=domain, reason=error.message)

    def _settle(self, domain: str) -> None:
        for change in self._pkl.journal(domain).unsettled():
            if self._happened(domain, change.id):
                with self._locks.readers_out(domain):
                    self._pkl.journal(domain).activate(change.id)
                self._finish(domain, change)
            else:
                self._pkl.journal(domain).finish(change.id)
            log.warning("gallery.change_settled", domain=domain, change=change.id)
        if not self._pkl.journal(domain).unsettled():
            self._files.drop_staged(domain)

    def _settle_if_possible(self, domain: str) -> None:
        try:
            self._settle(domain)
        except AppError as error:
            log.warning("gallery.not_settled", domain=domain, reason=error.message)

    def _happened(self, domain: str, change_id: str) -> bool:
        """Whether the database committed the change; if not, it never will."""
        named = {"change_id": change_id, "domain": domain}
        with self._database.transaction(_ASK_S) as cursor:
            cursor.execute(sql.ABORT_CHANGE, named)
            cursor.execute(sql.WAS_ABORTED, named)
            ((aborted,),) = cursor.fetchall()
        return not aborted

    def _commit(self, domain: str, work: Callable[[Cursor], tuple[T, GalleryChange]]) -> tuple[T, GalleryChange]:
        journal = self._pkl.journal(domain)
        with ExitStack() as readers:
            with self._database.transaction(_LIMIT_S) as cursor:
                value, change = work(cursor)
                cursor.execute(sql.DROP_OLD_CHANGES, {"domain": domain})
                cursor.execute(sql.COMMIT_CHANGE, {"change_id": change.id, "domain": domain})
                journal.stage(change)
                readers.enter_context(self._locks.readers_out(domain))
            journal.activate(change.id)
        return value, change

    def _complete_receipt(self, change: UnsettledChange) -> None:
        """A deletion's receipt has the id of its change, so that whoever ends the one completes the other."""
        if change.forget:
            with self._database.transaction(_ASK_S) as cursor:
                cursor.execute(sql.COMPLETE_RECEIPT, {"receipt_id": change.id})

    def _finish(self, domain: str, change: UnsettledChange) -> None:
        """Do in the files, and where it must be in the PKL, what was decided; what fails stays for the next writer."""
        try:
            failed = self._files.apply(domain, change.moves)
            if change.forget and domain in self._pkl.domains():
                self._pkl.fold(domain)
            followed = self._follow()
            if not failed and (followed or not change.forget):  # nobody is forgotten while an index has their vectors
                self._complete_receipt(change)
                self._pkl.journal(domain).finish(change.id)
                self._files.drop_staged(domain)
        except AppError as error:
            log.error("gallery.change_not_finished", domain=domain, change=change.id, reason=error.message)
