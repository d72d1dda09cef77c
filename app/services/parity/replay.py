"""Compares both galleries over a folder of photos, as live requests would: evidence without traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from app.errors import BadRequest, NoFace, StoreUnavailable, TooLarge, UnsupportedImage
from app.services.ingest.images import FoundImage, find_images, read_content
from app.services.parity.figures import request_ids_of_run, run_prefix

if TYPE_CHECKING:
    from app.services.parity.parity_store import ParityStore
    from app.services.parity.recorder import ParityRecorder

_WRITE_EVERY = 50  # photos that a replay which is killed does again, at most
_WRITE_WAIT_S = 120.0
_OF_THE_PHOTO = (BadRequest, TooLarge, UnsupportedImage, NoFace)  # what speaks against a photo, not against a gallery

Recognise = Callable[[bytes, str], object]


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What is compared.

    :param run: its name; photos that were compared under it are passed over.
    """

    folder: Path
    domain: str
    run: str


@dataclass(slots=True)
class ReplaySummary:
    """What became of the photos.

    :param done_before: by an earlier start of this run, or the same photo under another name.
    :param refused: path and reason of photos that cannot be compared.
    """

    compared: int = 0
    done_before: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


class Replay:
    """Recognises photos in dual mode, each kept as a comparison.

    :param recognise: (photo, domain) -> anything; it hands the comparison to `recorder`.
    """

    def __init__(self, recognise: Recognise, recorder: ParityRecorder, store: ParityStore) -> None:
        self._recognise = recognise
        self._recorder = recorder
        self._store = store

    def run(self, request: ReplayRequest, on_total: Callable[[int], Callable[[int], None]]) -> ReplaySummary:
        """Compare what this run has not compared yet; a photo that cannot be is noted and passed over.

        :param on_total: told how many photos there are; what it returns is called after each.
        :raises BadRequest: the folder cannot be read, or the run's name cannot be one.
        :raises UnknownDomain, StoreUnavailable, SpecMismatch: the PKL cannot answer, or nothing can be kept.
        """
        done = request_ids_of_run(self._store, request.domain, request.run)
        images, summary = find_images(request.folder), ReplaySummary()
        advance = on_total(len(images))
        for image in images:
            if self._is_compared(request, image, done, summary) and summary.compared % _WRITE_EVERY == 0:
                self._written()
            advance(1)
        self._written()
        return summary

    def _is_compared(self, request: ReplayRequest, image: FoundImage, done: set[str], summary: ReplaySummary) -> bool:
        try:
            content = read_content(request.folder, image)
            request_id = run_prefix(request.run) + content.sha256
            if request_id in done:
                summary.done_before += 1
                return False
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                self._recognise(content.photo, request.domain)
        except _OF_THE_PHOTO as error:
            summary.refused.append((image.path, error.message))
            return False
        done.add(request_id)
        summary.compared += 1
        return True

    def _written(self) -> None:
        """Have everything written and explained before more is compared.

        :raises StoreUnavailable: that takes too long, or something was lost.
        """
        is_written = self._recorder.flush(_WRITE_WAIT_S)
        status = self._recorder.status()
        if status.problem or status.lost or not is_written:
            reason = status.problem or "The comparisons cannot be kept: the database is too slow, or refused them."
            raise StoreUnavailable(f"{reason} Start again; what was kept is not done again.", code="replay_not_kept")


def domain_of(named: str | None, known: frozenset[str]) -> str:
    """The domain to replay in: the one named, or the only one there is.

    :raises BadRequest: none is named, and there is not exactly one.
    """
    if named is None and len(known) != 1:
        raise BadRequest("Name the domain with --domain.", code="domain_required")
    return named or next(iter(known))
