"""What is known of a domain's images, and what that says about a file: done, moved, copied or new."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace

from app.domain import GalleryFace
from app.services.ingest.embedding import EmbeddedPhoto, FacePolicy, ImageOutcome
from app.services.ingest.images import FoundImage


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A row of `processed_images`: an image, and what became of it.

    :param sha256: None where the file could not be opened.
    :param policy: what was in force for photos with several faces.
    """

    image: FoundImage
    sha256: str | None
    outcome: ImageOutcome
    reason: str | None
    policy: FacePolicy
    faces_found: int
    faces_stored: int


@dataclass(frozen=True, slots=True)
class Store:
    """To be written: the image's faces in place of those it had, and its record."""

    record: ImageRecord
    faces: tuple[GalleryFace, ...] = ()


@dataclass(frozen=True, slots=True)
class Refresh:
    """To be written: the record alone; the content is the same under another size or time."""

    record: ImageRecord


@dataclass(frozen=True, slots=True)
class Relocate:
    """To be written: the file was moved or renamed, its faces go along."""

    record: ImageRecord
    source: FoundImage


@dataclass(frozen=True, slots=True)
class Duplicate:
    """To be written: the same content lies under another path too, its faces are copied."""

    record: ImageRecord
    source: FoundImage


Step = Store | Refresh | Relocate | Duplicate


@dataclass(frozen=True, slots=True)
class Rules:
    """When an image counts as settled."""

    policy: FacePolicy
    retry_failed: bool = False

    def settle(self, record: ImageRecord) -> bool:
        """Whether the image need not be looked at again as long as its content is the same."""
        if record.sha256 is None or (record.outcome is not ImageOutcome.DONE and self.retry_failed):
            return False
        return record.policy is self.policy or record.faces_found <= 1


class Catalogue:
    """The records of one domain, kept up to date while a run goes on.

    :param on_disk: the paths that exist now.
    """

    def __init__(self, records: Iterable[ImageRecord], on_disk: Set[str], rules: Rules) -> None:
        self._rules = rules
        self._on_disk = on_disk
        self._by_path: dict[str, ImageRecord] = {}
        self._by_content: dict[str, set[str]] = defaultdict(set)
        for record in records:
            self._put(record)

    def is_settled(self, image: FoundImage) -> bool:
        """Whether the file is as it was when it was processed, told by size and time alone."""
        record = self._by_path.get(image.path)
        return record is not None and record.image == image and self._rules.settle(record)

    def of(self, path: str) -> ImageRecord | None:
        """The record of a path."""
        return self._by_path.get(path)

    def step_for(self, image: FoundImage, sha256: str) -> Step | None:
        """What to do with a file whose content is known already; None: it is to be embedded."""
        known = self._known(image.path, sha256)
        if known is None:
            return None
        record = replace(known, image=image)
        if known.image.path == image.path:
            return Refresh(record)
        return (Duplicate if known.image.path in self._on_disk else Relocate)(record, known.image)

    def new(self, image: FoundImage, sha256: str | None, embedded: EmbeddedPhoto) -> Store:
        """What to write of an image that was embedded, or could not be."""
        record = ImageRecord(
            image,
            sha256,
            embedded.outcome,
            embedded.reason,
            self._rules.policy,
            embedded.faces_found,
            len(embedded.faces),
        )
        faces = (GalleryFace(image.person, image.path, f.box, f.embedding, sha256) for f in embedded.faces)
        return Store(record, tuple(faces))

    def note(self, step: Step) -> None:
        """Take notice of a step that is going to be written."""
        if isinstance(step, Relocate):
            self._drop(step.source.path)
        self._put(step.record)

    def gone(self) -> list[str]:
        """The paths whose files are no longer there."""
        return sorted(self._by_path.keys() - self._on_disk)

    def _known(self, path: str, sha256: str) -> ImageRecord | None:
        """A settled record of this content: the path's own, else of a file that is gone (it moved), else a twin's."""
        settled = [p for p in self._by_content.get(sha256, ()) if self._rules.settle(self._by_path[p])]
        best = min(settled, key=lambda p: (p != path, p in self._on_disk, p), default=None)
        return None if best is None else self._by_path[best]

    def _put(self, record: ImageRecord) -> None:
        self._drop(record.image.path)
        self._by_path[record.image.path] = record
        if record.sha256 is not None:
            self._by_content[record.sha256].add(record.image.path)

    def _drop(self, path: str) -> None:
        record = self._by_path.pop(path, None)
        if record is not None and record.sha256 is not None:
            self._by_content[record.sha256].discard(path)
