"""Small pictures of enrolled faces, cut out of the gallery's photos when they are asked for; none is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.domain import EmbeddingSpec, FaceBox, ImageBgr
from app.errors import NotFound
from app.images import ImageLimits, decode_image, encode_jpeg

if TYPE_CHECKING:
    from app.adapters.gallery_files import GalleryFiles
    from app.adapters.postgres import Cursor, Database

SIDE = 192  # pixels; shown at half of it on screens of double density
_MARGIN = 0.35  # of the box's longer side, on each side: a face is known by its hair too
_LIMIT_S = 5.0

_FACE = """
SELECT image, box_x, box_y, box_w, box_h FROM face_embeddings WHERE id = %(id)s AND person_domain = %(domain)s
"""

_OF_PERSONS = """
SELECT f.person_id, f.id, f.image FROM unnest(%(persons)s::bigint[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT e.person_id, e.id, e.image FROM face_embeddings AS e JOIN embedding_specs AS s ON s.id = e.spec_id
    WHERE e.person_id = wanted.id AND e.person_domain = %(domain)s AND s.key = %(spec_key)s ORDER BY e.id LIMIT 1
) AS f
"""

_OF_IMAGES = """
SELECT DISTINCT ON (f.image) f.image, f.id, f.image
FROM face_embeddings AS f JOIN embedding_specs AS s ON s.id = f.spec_id
WHERE f.person_domain = %(domain)s AND s.key = %(spec_key)s AND f.image = ANY(%(images)s::text[])
ORDER BY f.image, f.box_w * f.box_h DESC
"""


class FaceThumbnails:
    """Faces of the gallery as pictures.

    :param limits: which photos are decoded at all.
    """

    def __init__(self, database: Database, files: GalleryFiles, spec: EmbeddingSpec, limits: ImageLimits) -> None:
        self._database = database
        self._files = files
        self._spec = spec
        self._limits = limits

    def jpeg(self, domain: str, face_id: int) -> bytes:
        """The face with some margin, at most SIDE pixels wide and high.

        :raises NotFound: the domain has no such face, or its photo lies elsewhere.
        """
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(_FACE, {"id": face_id, "domain": domain})
            row = cursor.fetchone()
        if row is None:
            raise NotFound("This domain has no such face.", code="face_unknown")
        image, x, y, w, h = row
        photo = decode_image(self._files.read(domain, image), self._limits)
        return encode_jpeg(cut_out(photo, FaceBox(x, y, w, h)), SIDE)

    def of_persons(self, domain: str, persons: Sequence[int]) -> dict[int, int]:
        """Person -> one of their faces whose photo is there to be shown."""
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            return self._shown(cursor, _OF_PERSONS, domain, {"persons": list(persons)})

    def of_images(self, domain: str, images: Sequence[str]) -> dict[str, int]:
        """Image -> its largest face, for those that are there to be shown."""
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            return self._shown(cursor, _OF_IMAGES, domain, {"images": list(images)})

    def is_shown(self, domain: str, image: str) -> bool:
        """Whether the photo is there to be shown."""
        return self._files.exists(domain, image)

    def _shown(self, cursor: Cursor, query: str, domain: str, parameters: dict[str, Any]) -> dict[Any, int]:
        cursor.execute(query, parameters | {"domain": domain, "spec_key": self._spec.key})
        return {key: face_id for key, face_id, image in cursor.fetchall() if self.is_shown(domain, image)}


def cut_out(photo: ImageBgr, box: FaceBox) -> ImageBgr:
    """The square around a face, as far as the photo reaches.

    :param photo: (H, W, 3) uint8.
    """
    half = round(max(box.w, box.h) * (0.5 + _MARGIN))
    x, y = box.x + box.w // 2, box.y + box.h // 2
    return photo[max(0, y - half) : max(1, y + half), max(0, x - half) : max(1, x + half)]
