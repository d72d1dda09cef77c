"""A bulk embedding: image folders into the database, without doing anything twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from app.errors import AppError
from app.services.ingest.catalogue import Catalogue, Duplicate, Refresh, Relocate, Rules, Step, Store
from app.services.ingest.embedding import EmbeddedPhoto, EmbeddingPool, ImageOutcome, Results
from app.services.ingest.images import Content, FoundImage, find_images, is_storable_name, read_content
from app.services.ingest.writer import IngestWriter

_CRASHED = EmbeddedPhoto(ImageOutcome.FAILED, "The worker process ended twice while it embedded this image.")


@dataclass(frozen=True, slots=True)
class IngestRequest:
    """What a run is to do.

    :param folder: where the images are; paths in the gallery are relative to it.
    :param limit: embed at most so many photos.
    :param dry_run: only find out what there is to do; nothing is embedded or written.
    """

    folder: Path
    rules: Rules
    limit: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """How a caller follows a run and ends it.

    :param progress: told how many images of how many are through.
    :param should_stop: once true, no further photo is begun; what was begun is finished and written.
    """

    progress: Callable[[int, int], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class NotDone:
    """An image that is not in the gallery, and why."""

    path: str
    outcome: ImageOutcome
    reason: str


@dataclass(slots=True)
class IngestSummary:
    """What a run found and did; counts are of images unless they say otherwise.

    :param unchanged: known from earlier runs, their failures included.
    :param embedded: photos handed to the model, whatever came of it; in a dry run, that would be.
    :param copied: further paths of a content that was embedded once.
    :param touched: files whose size or time changed and whose content did not.
    :param left: not looked at, because of the limit or a stop.
    :param gone: known images whose files are no longer there; their faces stay.
    """

    found: int = 0
    unchanged: int = 0
    embedded: int = 0
    moved: int = 0
    copied: int = 0
    touched: int = 0
    left: int = 0
    faces: int = 0
    seconds: float = 0.0
    outcomes: Counter[ImageOutcome] = field(default_factory=Counter)
    not_done: list[NotDone] = field(default_factory=list)
    failed_now: int = 0
    gone: list[str] = field(default_factory=list)

    @property
    def did_something(self) -> bool:
        return bool(self.embedded or self.moved or self.copied or self.failed_now)


class Ingest:
    """One run over one domain's folder.

    :param writer: of the domain; used by this thread alone.
    """

    def __init__(self, request: IngestRequest, writer: IngestWriter, pool: EmbeddingPool, watch: Watch) -> None:
        self._request = request
        self._writer = writer
        self._pool = pool
        self._watch = watch
        self._summary = IngestSummary()
        self._in_flight: dict[str, list[FoundImage]] = {}  # by content: twins of a photo wait for its result
        self._catalogue = Catalogue((), frozenset(), request.rules)
        self._through = 0
        self._pending = 0

    def run(self) -> IngestSummary:
        """Do what is to be done; what was written stays, whatever ends the run.

        :raises BadRequest: the folder cannot be listed.
        :raises AppError: the database or the workers cannot be used.
        """
        began = time.monotonic()
        pending = self._survey()
        # Closed at once when a batch cannot be written, so that no worker outlives the run.
        with closing(self._results(pending)) as results:
            for sha256, embedded in results:
                self._settle(sha256, embedded or _CRASHED)
        self._writer.flush()
        return self._summarise(began)

    def _survey(self) -> list[FoundImage]:
        """The files that were not processed before, or have another size or time since."""
        found = find_images(self._request.folder)
        on_disk = frozenset(image.path for image in found)
        self._catalogue = Catalogue(self._writer.records(), on_disk, self._request.rules)
        pending = [image for image in found if not self._catalogue.is_settled(image)]
        self._summary.found, self._summary.unchanged = len(found), len(found) - len(pending)
        self._note_earlier_failures(set(found) - set(pending))
        self._pending = len(pending)
        self._watch.progress(0, self._pending)
        return pending

    def _results(self, pending: Sequence[FoundImage]) -> Results:
        photos = self._photos(pending)
        if not self._request.dry_run:
            return self._pool.embed(photos)
        return ((sha256, EmbeddedPhoto(ImageOutcome.DONE)) for sha256, _ in photos)

    def _photos(self, pending: Sequence[FoundImage]) -> Iterator[tuple[str, bytes]]:
        """What has to be embedded; all that needs no embedding is settled on the way."""
        for image in pending:
            if self._watch.should_stop() or self._summary.embedded == self._request.limit:
                return
            content = self._content(image)
            if content is None:
                continue
            step = self._catalogue.step_for(image, content.sha256)
            if step is not None:
                self._write(step)
            elif content.sha256 in self._in_flight:
                self._in_flight[content.sha256].append(image)
            else:
                self._in_flight[content.sha256] = [image]
                self._summary.embedded += 1
                yield content.sha256, content.photo

    def _content(self, image: FoundImage) -> Content | None:
        try:
            return read_content(self._request.folder, image)
        except AppError as error:
            self._write(self._catalogue.new(image, None, EmbeddedPhoto(ImageOutcome.UNREADABLE, error.message)))
            return None

    def _settle(self, sha256: str, embedded: EmbeddedPhoto) -> None:
        first, *twins = self._in_flight.pop(sha256)
        self._write(self._catalogue.new(first, sha256, embedded))
        for twin in twins:
            self._summary.copied += 1
            self._write(self._catalogue.new(twin, sha256, embedded))

    def _write(self, step: Step) -> None:
        self._count(step)
        self._catalogue.note(step)
        if not self._request.dry_run and is_storable_name(step.record.image.path):
            self._writer.add(step)
        self._through += 1
        self._watch.progress(self._through, self._pending)

    def _count(self, step: Step) -> None:
        summary, record = self._summary, step.record
        summary.moved += isinstance(step, Relocate)
        summary.copied += isinstance(step, Duplicate)
        summary.touched += isinstance(step, Refresh)
        if isinstance(step, Store):
            summary.outcomes[record.outcome] += 1
            summary.faces += len(step.faces)
            summary.failed_now += record.outcome is not ImageOutcome.DONE
        if record.reason is not None:
            summary.not_done.append(NotDone(record.image.path, record.outcome, record.reason))

    def _note_earlier_failures(self, settled: set[FoundImage]) -> None:
        for image in sorted(settled):
            record = self._catalogue.of(image.path)
            if record is not None and record.reason is not None:
                self._summary.not_done.append(NotDone(image.path, record.outcome, record.reason))

    def _summarise(self, began: float) -> IngestSummary:
        self._summary.left = self._pending - self._through
        self._summary.gone = self._catalogue.gone()
        self._summary.seconds = time.monotonic() - began
        return self._summary
