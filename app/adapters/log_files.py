"""Takes a deleted person's pseudonym out of the log files that are already written."""

from __future__ import annotations

import mmap
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def forget_in_logs(folder: Path, pseudonym: str) -> int:
    """Overwrite every occurrence, in place and at its length: processes that append to the file go on undisturbed.

    :param folder: the service's own log files; compressed ones, and those in the journal, go with their rotation.
    :return: how many occurrences there were.
    """
    return sum(_overwrite(path, pseudonym.encode()) for path in sorted(folder.glob("*.log*")) if path.is_file())


def _overwrite(path: Path, text: bytes) -> int:
    try:
        if not path.stat().st_size:
            return 0
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
            return _overwrite_in(content, text)
    except OSError as exc:
        log.warning("logs.not_cleaned", file=path.name, reason=exc.strerror)
        return 0


def _overwrite_in(content: mmap.mmap, text: bytes) -> int:
    count, place = 0, content.find(text)
    while place >= 0:
        content[place : place + len(text)] = b"-" * len(text)
        count, place = count + 1, content.find(text, place + len(text))
    return count
