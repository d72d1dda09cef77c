"""The composition root's part for persons: who changes them, and how every worker sees it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceMatches
from app.errors import UnknownDomain

if TYPE_CHECKING:
    from app.adapters.gallery_lock import GalleryLocks
    from app.adapters.pkl.live import LivePklGalleries
    from app.bootstrap import Container
    from app.controllers.person_controller import PersonController, PhotoGate
    from app.services.people.gallery_changes import GalleryChanges


def start_database(container: Container) -> None:
    """For a command: have the embedded Postgres running, where that is what is used; `container.close()` ends it.

    :raises StartupError: it does not start.
    """
    if container.uses_embedded_postgres:
        container.embedded_postgres.start()


def gallery_locks(container: Container) -> GalleryLocks:
    """The locks that all processes of the storage folder share."""
    from app.adapters.gallery_lock import GalleryLocks

    return GalleryLocks(container.settings.storage_dir / "locks")


def live_pkl(container: Container) -> LivePklGalleries:
    """The PKL galleries with their journals; what a crash left in one is settled where there is a database to ask."""
    from app.adapters.pkl.live import LivePklGalleries

    def settle(domain: str) -> None:
        if container.has_database:
            container.gallery_changes.settle_beside(domain)

    return LivePklGalleries(container.pkl_snapshots, container.settings.galleries, settle)


def gallery_changes(container: Container) -> GalleryChanges:
    """The one way in which persons change."""
    from app.adapters.gallery_files import GalleryFiles
    from app.services.people.gallery_changes import GalleryChanges

    files = GalleryFiles(container.settings.galleries)
    follow = container.mirror.outbox.follow if container.mirror is not None else None
    return GalleryChanges(container.database, container.live_pkl, files, container.gallery_locks, follow)


def person_controller(container: Container) -> PersonController:
    """Everything under `/persons`; it needs a database, and says so when it is used without one."""
    from app.adapters.gallery_files import GalleryFiles
    from app.adapters.log_files import forget_in_logs
    from app.controllers.person_controller import People, PersonController
    from app.services.people.person_deletion import PersonDeletion
    from app.services.people.person_images import PersonImages
    from app.services.people.person_merging import PersonMerging
    from app.services.people.person_service import PersonService
    from app.services.people.person_store import PersonStore

    database, changes = container.database, container.gallery_changes
    store = PersonStore(container.engine.spec)
    files = GalleryFiles(container.settings.galleries)
    images = PersonImages(store, container.live_pkl, files)

    def forget(domain: str, pseudonym: str) -> dict[str, int]:
        references = forget_in_logs(container.settings.storage_dir / "logs", pseudonym)
        return {"log_references": references, "set_aside_galleries": files.remove_set_aside(domain)}

    people = People(
        persons=PersonService(database, store, images, changes, partial(_look_alikes, container)),
        merging=PersonMerging(store, images, changes),
        deletion=PersonDeletion(database, store, images, changes, forget),
    )
    embed_faces = container.turns.in_turn(container.engine.embed_faces)
    return PersonController(embed_faces, _photo_gate(container), people)


def _photo_gate(container: Container) -> PhotoGate:
    from app.controllers.person_controller import PhotoGate
    from app.services.people.enrolment_quality import QualityLimits

    s = container.settings
    quality = QualityLimits(
        min_face_px=s.enrol_min_face_px,
        min_sharpness=s.enrol_min_sharpness,
        min_brightness=s.enrol_min_brightness,
        max_brightness=s.enrol_max_brightness,
        dominance=s.enrol_dominance,
    )
    return PhotoGate(container.photo_limits.image, quality)


def _look_alikes(container: Container, domain: str, probes: NDArray[np.float64]) -> list[FaceMatches]:
    try:
        return container.pgvector_recognition.search(domain, probes)
    except UnknownDomain:  # its first person
        return [() for _ in probes]
