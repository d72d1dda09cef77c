"""Fills both galleries of the demo domain with the same faces; a second run does nothing."""

from __future__ import annotations

from app.bootstrap import Container
from app.domain import GalleryFace
from app.images import decode_photo
from app.person_names import person_name
from scripts import demo_faces


def fill(container: Container, domain: str) -> str:
    """Write the images, embed them, fill the PKL and the database; a sentence about what both hold.

    :raises AppError: the engine or the database cannot be used.
    """
    if not _is_filled(container, domain):
        folder = container.settings.galleries / domain
        demo_faces.write_gallery(folder)
        images = sorted(p.relative_to(folder).as_posix() for p in folder.glob("*/*.png"))
        faces = [_enrol(container, domain, image) for image in images]
        container.write_pkl(domain, faces)
        container.vector_db.add_faces(domain, faces)
        container.vector_db.ensure_index(domain)
    held = container.vector_db.counts()[domain]
    return f"{held.embeddings} images of {held.persons} persons, in the PKL and in Postgres."


def _is_filled(container: Container, domain: str) -> bool:
    """Whether it holds anybody: whom somebody renamed or deleted in the console must not be back at the next start."""
    return domain in container.vector_db.counts() and container.has_pkl(domain)


def _enrol(container: Container, domain: str, image: str) -> GalleryFace:
    photo = (container.settings.galleries / domain / image).read_bytes()
    face = container.engine.embed_faces(decode_photo(photo, container.photo_limits.image))[0]
    return GalleryFace(person_name(image), image, face.box, face.embedding)
