"""Where a person's images are known, and what a new name or a new owner makes of their paths.

A path names its person (`person_names`), in both galleries and in DeepFace's own reading of the folder. So whoever gets
a photo gets it in their folder, and a person who gets a new name gets a new folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from app.domain import GalleryFace
from app.gallery_change import FileMove, GalleryChange
from app.gallery_view import GalleryView
from app.services.people.person_records import EnrolmentPhoto, Person
from app.services.people.person_store import PersonStore

if TYPE_CHECKING:
    from app.adapters.gallery_files import GalleryFiles
    from app.adapters.pkl.live import LivePklGalleries
    from app.adapters.postgres import Cursor


class PersonImages:
    """A domain's images, in the database, in the PKL where there is one, and as files."""

    def __init__(self, store: PersonStore, pkl: LivePklGalleries, files: GalleryFiles) -> None:
        self._store = store
        self._pkl = pkl
        self._files = files

    def of(self, cursor: Cursor, domain: str, person: Person) -> list[str]:
        """Every image of the person that any of the three knows: one may lack what another has."""
        view = self.view(domain)
        in_pkl = [face.image for face in view.faces_of_person(person.name)] if view else []
        known = {*self._store.images(cursor, person.id), *in_pkl, *self._files.of_person(domain, person.name)}
        return sorted(known)

    def view(self, domain: str) -> GalleryView | None:
        """The domain's PKL gallery as it is now; None where the domain has none.

        :raises StoreUnavailable: it has one, and it cannot be read.
        """
        return self._pkl.current(domain) if domain in self._pkl.domains() else None

    def added(self, domain: str, person: Person, photos: Sequence[EnrolmentPhoto]) -> GalleryChange:
        """The change that adds these photos to a person; their files are staged."""
        change = GalleryChange(domain)
        files = [(photo.content, photo.image_of(person.name)) for photo in photos]
        faces = tuple(_gallery_face(person, photo) for photo in photos) if self.view(domain) else ()
        return replace(change, faces=faces, moves=self._files.stage(domain, change.id, files))

    def relocated(self, domain: str, to: Person, paths: Mapping[str, str]) -> GalleryChange:
        """The change that gives images other paths, below the folder of `to`."""
        view, moves = self.view(domain), tuple(FileMove(old, new) for old, new in paths.items())
        if view is None:
            return GalleryChange(domain, moves=moves)
        faces = tuple(
            replace(face, person=to.name, image=new) for old, new in paths.items() for face in view.faces_of_image(old)
        )
        return GalleryChange(domain, removed=tuple(paths), faces=faces, moves=moves)

    def removed(self, domain: str, images: Sequence[str]) -> GalleryChange:
        """The change that removes images for good."""
        in_pkl = tuple(images) if self.view(domain) else ()
        return GalleryChange(domain, removed=in_pkl, moves=tuple(FileMove(image, None) for image in images))

    def counts(self, domain: str, person: Person, images: Sequence[str]) -> dict[str, int]:
        """How much of a person lies in the folder, the PKL and its journal."""
        view = self.view(domain)
        journal = len(view.added.rows_of_person(person.name)) if view and view.added else 0
        rows = len(view.faces_of_person(person.name)) if view else 0
        photos = sum(self._files.exists(domain, image) for image in images)
        return {"photos": photos, "pkl_rows": rows - journal, "journal_faces": journal}

    def paths_below(self, name: str, images: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
        """A path below the folder of `name` for each image, which none of `taken` has."""
        used, paths = set(taken), {}
        for image in images:
            paths[image] = _free_path(name, image, used)
            used.add(paths[image])
        return paths


def _free_path(name: str, image: str, used: set[str]) -> str:
    first, _, rest = image.partition("/")
    wanted = PurePosixPath(name) / (rest or first)
    if str(wanted) not in used:
        return str(wanted)
    mark = sha256(image.encode(errors="surrogatepass")).hexdigest()[:8]
    return str(wanted.with_name(f"{wanted.stem}-{mark}{wanted.suffix}"))


def _gallery_face(person: Person, photo: EnrolmentPhoto) -> GalleryFace:
    """In single precision, as the database keeps it, so that both galleries give the same numbers."""
    embedding = np.asarray(photo.face.embedding, dtype=np.float32)
    return GalleryFace(person.name, photo.image_of(person.name), photo.face.box, embedding, photo.sha256)
