"""Locks between all processes of a storage folder, domain by domain; the system releases a crashed process's.

Two kinds. One writer at a time changes a domain's persons. And for the moment in which a change becomes visible in both
galleries, it keeps readers out: those of dual mode, who compare both. A writer that waits closes the gate behind the
readers that are in, so that a stream of them cannot keep it out for ever.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from app.adapters.gallery_files import make_folder, own_as_folder
from app.domain import check_domain_name
from app.errors import StoreUnavailable

log = structlog.get_logger(__name__)

WRITER_WAIT_S = 30.0  # a writer may rewrite a large PKL
READERS_WAIT_S = 10.0  # a reader is in for the time of a search
# A reader goes on without the lock after this: an answer never waits for somebody who changes persons.
READER_WAIT_S = 0.25
_POLL_S = 0.001


class GalleryLocks:
    """The locks of all domains.

    :param folder: where the lock files lie; made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def writing(self, domain: str, wait_s: float = WRITER_WAIT_S) -> Iterator[None]:
        """Be the only one who changes the domain's persons.

        :raises StoreUnavailable: code `gallery_busy`, somebody else still does.
        """
        with self._opened(domain, "writer") as writer:
            _lock(writer, fcntl.LOCK_EX, wait_s)
            yield

    @contextmanager
    def readers_out(self, domain: str) -> Iterator[None]:
        """Keep the readers out that compare both galleries.

        :raises StoreUnavailable: code `gallery_busy`, one did not end in time.
        """
        with self._opened(domain, "gate") as gate, self._opened(domain, "readers") as readers:
            _lock(gate, fcntl.LOCK_EX, READERS_WAIT_S)
            _lock(readers, fcntl.LOCK_EX, READERS_WAIT_S)
            yield

    @contextmanager
    def reading(self, domain: str) -> Iterator[None]:
        """Have both galleries before or after any change, as long as the block runs; never waits for long."""
        with ExitStack() as held:
            try:
                readers = held.enter_context(self._opened(domain, "readers"))
                with self._opened(domain, "gate") as gate:
                    _lock(gate, fcntl.LOCK_SH, READER_WAIT_S)
                    _lock(readers, fcntl.LOCK_SH, READER_WAIT_S)
            except StoreUnavailable as error:
                log.warning("DUAL-MODE reader goes on without the lock", domain=domain, code=error.error_code)
            yield

    @contextmanager
    def _opened(self, domain: str, kind: str) -> Iterator[int]:
        """A descriptor of its own each time, because `flock` locks descriptors: threads exclude each other too."""
        descriptor = _open(self._folder / f"{check_domain_name(domain)}.{kind}")
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    try:
        if not path.exists():
            make_folder(path.parent)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o640))
            own_as_folder(path)
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        raise StoreUnavailable(f"The lock {path.name} cannot be opened: {exc.strerror}.", code="lock_unusable") from exc


def _lock(descriptor: int, operation: int, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    "Another change of this domain's persons is under way; try again.", code="gallery_busy"
                ) from None
            time.sleep(_POLL_S)
        else:
            return
