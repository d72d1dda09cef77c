"""One gallery for all that `bench.recognize` compares: the photographed persons among many that were never there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.bootstrap_scripts import GalleryContainer
from app.domain import FaceBox, GalleryFace
from app.images import decode_image
from app.services.search.tuning import TuningRequest
from app.services.transfer.bulk_load import ROWS_AT_A_TIME
from bench.recognize_photos import Subject

DOMAIN = "bench"
_IMAGES_OF_A_PERSON = 10
_TUNING_PROBES = 500
# Cosine distances of the strangers: to each other about 0.2, within a person 0.02 (Dlib's threshold is 0.07).
_STRANGERS_APART = 0.2
_WITHIN_A_PERSON = 0.02


def fill(container: GalleryContainer, subjects: Sequence[Subject], rows: int) -> list[GalleryFace]:
    """Fill the PKL and the database with the subjects' faces and with strangers up to `rows`; the strangers.

    :raises AppError: the engine or the database cannot be used.
    """
    enrolled = list(_enrolled(container, subjects))
    strangers = _strangers(enrolled, rows - len(enrolled))
    faces = enrolled + strangers
    (container.settings.galleries / DOMAIN).mkdir(parents=True)
    container.write_pkl(DOMAIN, faces)
    loader = container.bulk_loader
    with loader.transaction() as cursor:
        for start in range(0, len(faces), ROWS_AT_A_TIME):
            loader.load(cursor, DOMAIN, faces[start : start + ROWS_AT_A_TIME])
    container.search_tuner.tune(DOMAIN, TuningRequest(probes=_TUNING_PROBES))
    return strangers


def _enrolled(container: GalleryContainer, subjects: Sequence[Subject]) -> Iterator[GalleryFace]:
    """Every face of each photo, as DeepFace's `register` does."""
    for subject in subjects:
        for face in container.engine.embed_faces(decode_image(subject.enrolled, container.photo_limits.image)):
            yield GalleryFace(subject.person, f"{subject.person}/1.jpg", face.box, face.embedding)


def _strangers(enrolled: Sequence[GalleryFace], count: int) -> list[GalleryFace]:
    """Vectors around the mean of the real ones, so that they are as near to a probe as strangers are."""
    random = np.random.default_rng(0)
    real = np.stack([face.embedding for face in enrolled]).astype(np.float64)
    centre = real.mean(axis=0)
    persons = _around(random, np.tile(centre, (count // _IMAGES_OF_A_PERSON + 1, 1)), _STRANGERS_APART)
    images = _around(random, persons.repeat(_IMAGES_OF_A_PERSON, axis=0)[: max(0, count)], _WITHIN_A_PERSON)
    return [
        GalleryFace(name, f"{name}/{number}.jpg", FaceBox(0, 0, 100, 100), vector)
        for number, vector in enumerate(images)
        for name in (f"Stranger {number // _IMAGES_OF_A_PERSON:05d}",)
    ]


def _around(random: np.random.Generator, centres: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """A vector beside each centre, two of them (of one centre) at about this cosine distance from each other."""
    noise = random.standard_normal(centres.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    beside: NDArray[np.float64] = centres + noise * lengths * np.sqrt(distance / (1 - distance))
    return beside
