"""One storage folder and one database with everything that changes persons in them, for the tests of people."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.adapters.gallery_files import GalleryFiles
from app.adapters.gallery_lock import GalleryLocks
from app.adapters.log_files import forget_in_logs
from app.adapters.pkl.live import LivePklGalleries
from app.adapters.pkl.naming import pkl_names
from app.adapters.pkl.snapshots import PklSnapshots
from app.adapters.pkl.writer import write_pkl
from app.adapters.postgres import Database
from app.domain import Face, FaceBox, FaceMatches, GalleryFace
from app.services.people.gallery_changes import GalleryChanges
from app.services.people.person_deletion import PersonDeletion
from app.services.people.person_images import PersonImages
from app.services.people.person_merging import PersonMerging
from app.services.people.person_records import EnrolmentPhoto, PersonQuery, Scope
from app.services.people.person_service import PersonService
from app.services.people.person_store import PersonStore
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.recognition_service import RecognitionService
from app.services.vector_db_service import VectorDbService
from tests.integration.galleries import policy_of, spec_of

DOMAIN = "serbia"
D = 16
SPEC, POLICY = spec_of(D), policy_of(0.3)
SCOPE = Scope(DOMAIN, "t_test")
BOX = FaceBox(1, 2, 30, 40)


def axis(i: int) -> NDArray[np.float64]:
    """A direction of somebody's own; its length is of their own too, so that its bytes can be looked for."""
    vector = np.zeros(D)
    vector[i] = length(i)
    return vector


def length(i: int) -> float:
    """A number that float32 holds exactly."""
    return 1 + i / 64 + 1 / 4096


def photo(i: int, content: bytes | None = None) -> EnrolmentPhoto:
    content = content or b"photo of %d" % i
    return EnrolmentPhoto(content, ".jpg", hashlib.sha256(content).hexdigest(), Face(BOX, axis(i), 1.0))


@dataclass
class World:
    """One storage folder with everything that changes persons in it."""

    storage: Path
    database: Database
    follow: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        galleries = self.storage / "galleries"
        snapshots = PklSnapshots(galleries, self.storage / "cache", SPEC, {})
        self.vector_db = VectorDbService(self.database, SPEC)
        self.pgvector = PgVectorRecognitionService(self.vector_db, POLICY, timeout_s=10)
        self.live = LivePklGalleries(snapshots, galleries, self._settle)
        self.pkl = RecognitionService(self.live.current, self.live.domains, POLICY)
        files = GalleryFiles(galleries)
        locks = GalleryLocks(self.storage / "locks")
        self.changes = GalleryChanges(self.database, self.live, files, locks, self.follow)
        store = PersonStore(SPEC)
        images = PersonImages(store, self.live, files)
        self.persons = PersonService(self.database, store, images, self.changes, self.pgvector.search)
        self.merging = PersonMerging(store, images, self.changes)
        self.deletion = PersonDeletion(
            self.database,
            store,
            images,
            self.changes,
            lambda domain, key: {
                "log_references": forget_in_logs(self.storage / "logs", key),
                "set_aside_galleries": files.remove_set_aside(domain),
            },
        )

    def _settle(self, domain: str) -> None:
        self.changes.settle_beside(domain)

    @property
    def folder(self) -> Path:
        return self.storage / "galleries" / DOMAIN

    def fill(self, *faces: GalleryFace) -> None:
        for face in faces:
            path = self.folder / face.image
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(face.image.encode())
        write_pkl(self.folder / pkl_names(SPEC)[0], faces, self.folder)
        self.vector_db.add_faces(DOMAIN, faces)

    def who(self, i: int) -> tuple[str, str] | None:
        """Who is found and by which image; both galleries must say the same, number for number."""
        answers = [self._matches(gallery, i) for gallery in (self.pkl, self.pgvector)]
        assert answers[0] == answers[1]
        return (answers[0][0].person, answers[0][0].image) if answers[0] else None

    def _matches(self, gallery: RecognitionService | PgVectorRecognitionService, i: int) -> FaceMatches:
        return gallery.search(DOMAIN, axis(i)[np.newaxis])[0]

    def id_of(self, name: str) -> int:
        return self.persons.page(DOMAIN, PersonQuery(search=name)).persons[0].id

    def files(self) -> set[str]:
        return {p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*.jpg")}


def enrolled(person: str, i: int, image: str = "1.jpg") -> GalleryFace:
    return GalleryFace(person, f"{person}/{image}", BOX, axis(i).astype(np.float32))
