"""What the operating system says about files and disks, in sentences."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import StoreUnavailable


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Raise this service's error in place of an OSError.

    :param what: begins the sentence, e.g. `The backup`.
    :raises StoreUnavailable: code `disk_full` or `disk_failed`; says which file, where one is known.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{what} failed: the disk is full. Make room and try again."
            raise StoreUnavailable(message, code="disk_full") from exc
        where = f" at {exc.filename}" if exc.filename else ""
        raise StoreUnavailable(f"{what} failed{where}: {exc.strerror or exc}.", code="disk_failed") from exc
