"""What both galleries hold of a person now, measured against a probe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS
from app.gallery_view import GalleryView
from app.services.matching import exact_distances
from app.services.parity import parity_sql as sql
from app.services.stored_values import is_storable_text, vector_of

if TYPE_CHECKING:
    from app.adapters.postgres import Database

# Distances are rounded to six places: two of the same vector, once in float64 and once in float32, may differ by one
# unit of the last. Half a unit more, because such a difference is itself a float.
ROUNDING = 1.5 * 10.0**-DISTANCE_DECIMALS
_SAMPLE = 32

Vectors = dict[str, list[NDArray[np.float64]]]  # of one person, by image: an image may show several faces


@dataclass(frozen=True, slots=True)
class PersonEvidence:
    """What both galleries hold of a person.

    :param pkl_distance, pgvector_distance: cosine distance of the best image to the probe, in float64 and rounded to
        six places; None where that gallery holds nothing of the person.
    :param changed: images that both hold, with other vectors.
    :param written_at: when the database's best face was written last.
    """

    name: str
    image: str | None
    pkl_distance: float | None
    pgvector_distance: float | None
    only_in_pkl: int
    only_in_pgvector: int
    changed: int
    written_at: datetime | None

    @property
    def is_held_equally(self) -> bool:
        """Whether both galleries give the person the same distance, up to rounding."""
        return is_same(self.pkl_distance, self.pgvector_distance)

    def to_json(self) -> dict[str, Any]:
        """As a proof shows it."""
        return {
            "name": self.name,
            "image": self.image,
            "pkl_distance": self.pkl_distance,
            "pgvector_distance": self.pgvector_distance,
            "images_only_in_pkl": self.only_in_pkl,
            "images_only_in_pgvector": self.only_in_pgvector,
            "images_with_other_vectors": self.changed,
        }


class GalleryEvidence:
    """Asks both galleries for what they hold.

    :param view: the domain's PKL gallery as it is now.
    :param timeout_s: limit of a question to the database.
    """

    def __init__(self, view: Callable[[str], GalleryView], database: Database, spec_key: str, timeout_s: float) -> None:
        self._view = view
        self._database = database
        self._spec_key = spec_key
        self._timeout_s = timeout_s

    def of(self, domain: str, names: Iterable[str], probe: NDArray[np.float64]) -> dict[str, PersonEvidence]:
        """What both galleries hold of these persons.

        :raises StoreUnavailable: one of them cannot be asked.
        """
        wanted = sorted(names)
        stored, written = self._stored(domain, wanted)
        view = self._view(domain)
        found = {}
        for name in wanted:
            in_pkl: Vectors = defaultdict(list)
            for face in view.faces_of_person(name):
                in_pkl[face.image].append(np.asarray(face.embedding, dtype=np.float64))
            found[name] = _measured(name, (in_pkl, stored[name]), written, probe)
        return found

    def changed_images(self, domain: str) -> tuple[int, int]:
        """Of images that both galleries hold, drawn evenly from the PKL: how many have other vectors, of how many.

        :raises StoreUnavailable: one of them cannot be asked.
        """
        part = self._view(domain).base
        rows = np.unique(np.linspace(0, len(part.matrix), _SAMPLE, endpoint=False).astype(np.intp))
        sample: Vectors = defaultdict(list)
        for face in part.faces(rows if len(part.matrix) else rows[:0]):
            if is_storable_text(face.image):
                sample[face.image].append(np.asarray(face.embedding, dtype=np.float64))
        stored = self._stored_images(domain, list(sample))
        shared = [image for image in sample if image in stored]
        return sum(not _agree(sample[image], stored[image]) for image in shared), len(shared)

    def _stored(self, domain: str, names: Sequence[str]) -> tuple[dict[str, Vectors], dict[str, datetime]]:
        vectors: dict[str, Vectors] = {name: defaultdict(list) for name in names}
        written: dict[str, datetime] = {}
        storable = [name for name in names if is_storable_text(name)]
        with self._database.transaction(self._timeout_s, read_only=True) as cursor:
            cursor.execute(sql.FACES_OF_PERSONS, {"domain": domain, "spec_key": self._spec_key, "names": storable})
            for name, image, sent, updated_at in cursor.fetchall():
                vectors[name][image].append(vector_of(sent).astype(np.float64))
                written[image] = updated_at
        return vectors, written

    def _stored_images(self, domain: str, images: Sequence[str]) -> Vectors:
        vectors: Vectors = defaultdict(list)
        with self._database.transaction(self._timeout_s, read_only=True) as cursor:
            cursor.execute(sql.FACES_OF_IMAGES, {"domain": domain, "spec_key": self._spec_key, "images": list(images)})
            for image, sent in cursor.fetchall():
                vectors[image].append(vector_of(sent).astype(np.float64))
        return vectors


def is_same(one: float | None, other: float | None) -> bool:
    """Whether two distances are equal up to rounding; None equals None only."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= ROUNDING


def _measured(
    name: str, held: tuple[Vectors, Vectors], written: Mapping[str, datetime], probe: NDArray[np.float64]
) -> PersonEvidence:
    in_pkl, in_database = held
    pkl_distance, pkl_image = _best(in_pkl, probe)
    pgvector_distance, image = _best(in_database, probe)
    return PersonEvidence(
        name=name,
        image=pkl_image if image is None else image,
        pkl_distance=pkl_distance,
        pgvector_distance=pgvector_distance,
        only_in_pkl=len(in_pkl.keys() - in_database.keys()),
        only_in_pgvector=len(in_database.keys() - in_pkl.keys()),
        changed=sum(not _agree(in_pkl[i], in_database[i]) for i in in_pkl.keys() & in_database.keys()),
        written_at=written.get(image) if image else None,
    )


def _best(vectors: Vectors, probe: NDArray[np.float64]) -> tuple[float | None, str | None]:
    rows = [(image, vector) for image, several in vectors.items() for vector in several]
    if not rows:
        return None, None
    distances = exact_distances(np.stack([vector for _, vector in rows]), probe)
    best = int(np.argmin(distances))
    return float(distances[best]), rows[best][0]


def _agree(pkl: Sequence[NDArray[np.float64]], stored: Sequence[NDArray[np.float64]]) -> bool:
    """Whether every face that the PKL has of an image is among those of the database."""
    matrix = np.stack(stored)
    return all(exact_distances(matrix, vector).min() <= ROUNDING for vector in pkl)
