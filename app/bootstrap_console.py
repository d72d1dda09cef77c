"""The composition root's part for the console."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from app.services.ingest.bulk_runs import BulkRun, BulkRuns
from app.services.ingest.recent_loads import BulkLoad, recent_loads
from app.services.people.deletion_receipts import DeletionReceipts
from app.services.people.face_thumbnails import FaceThumbnails
from app.services.people.person_store import PersonStore
from app.services.people.person_twins import PersonTwins
from app.services.video.job_overview import JobOverview

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.bootstrap import Container


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """What the console's pages ask beside the controllers; without a database they say so when they are used."""

    faces: FaceThumbnails
    twins: PersonTwins
    receipts: DeletionReceipts
    loads: Callable[[], list[BulkLoad]]
    runs: Callable[[], list[BulkRun]]
    videos: JobOverview


def console_parts(container: Container) -> ConsoleParts:
    """The console's own parts."""
    from app.adapters.gallery_files import GalleryFiles

    database, spec = container.database, container.engine.spec
    files = GalleryFiles(container.settings.galleries)
    return ConsoleParts(
        faces=FaceThumbnails(database, files, spec, container.photo_limits.image),
        twins=PersonTwins(database, PersonStore(spec), spec, container.pgvector_policy.threshold),
        receipts=DeletionReceipts(database),
        loads=partial(recent_loads, database),
        runs=BulkRuns(database).recent,
        videos=JobOverview(database),
    )
