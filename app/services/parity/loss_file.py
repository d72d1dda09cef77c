"""Comparisons that were lost and could not be noted in the database: on disk, until somebody can note them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import structlog

from app.atomic_file import locked, write_atomically

log = structlog.get_logger(__name__)


class LossFile:
    """Counts by domain that outlive their process; all processes of a storage folder share the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, lost: Mapping[str, int]) -> None:
        """Keep these for whoever asks next; where that cannot be, the log says so."""
        if not lost:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._path):
                write_atomically(self._path, json.dumps(self._read() + Counter(lost)).encode())
        except OSError as error:
            log.error("DUAL-MODE losses not kept", comparisons=sum(lost.values()), reason=error.strerror)

    def take(self) -> Counter[str]:
        """What is kept, which is nobody else's from now on; nothing where it cannot be had."""
        if not self._path.exists():
            return Counter()
        try:
            with locked(self._path):
                kept = self._read()
                self._path.unlink(missing_ok=True)
            return kept
        except OSError as error:
            log.error("DUAL-MODE losses not read", reason=error.strerror)
            return Counter()

    def _read(self) -> Counter[str]:
        try:
            return Counter({str(domain): int(count) for domain, count in json.loads(self._path.read_bytes()).items()})
        except FileNotFoundError:
            return Counter()
        except (ValueError, AttributeError):
            log.error("DUAL-MODE losses not readable: the count begins anew")
            return Counter()
