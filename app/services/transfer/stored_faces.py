"""Reads a domain's faces out of the database, as they are at one moment, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from app.domain import EmbeddingSpec, FaceBox, GalleryFace
from app.services.stored_values import vector_of
from app.services.transfer import stored_faces_sql as sql

if TYPE_CHECKING:
    from app.adapters.postgres import Database

FaceKey = tuple[str, FaceBox]  # which face of which image

_TIMEOUT_S = 3600.0  # for all pages together
_PAGE_ROWS = 5000


class StoredFaces:
    """The faces of one spec in the database.

    :param spec: the spec in use; faces of others are passed over.
    """

    def __init__(self, database: Database, spec: EmbeddingSpec) -> None:
        self._database = database
        self._spec = spec

    def faces(self, domain: str) -> Iterator[GalleryFace]:
        """Every face with its vector, (D,) float32, in the order in which they were added.

        :raises StoreUnavailable: the database failed.
        """
        for person, image, box, sha256, sent in self._rows(domain, sql.VECTOR):
            yield GalleryFace(person, image, box, vector_of(sent), sha256)

    def digests(self, domain: str) -> Iterator[tuple[str, FaceKey, bytes]]:
        """Of every face the person, what names it, and the SHA-256 of `binary_copy.sent_vector`.

        :raises StoreUnavailable: the database failed.
        """
        for person, image, box, _, digest in self._rows(domain, sql.DIGEST):
            yield person, (image, box), bytes(digest)

    def remove(self, domain: str, keys: Sequence[FaceKey]) -> int:
        """Delete these faces, and the persons of whom nothing is left; how many faces there were.

        :raises StoreUnavailable: the database failed; nothing was deleted.
        """
        boxes = {side: [getattr(box, side) for _, box in keys] for side in "xywh"}
        parameters = {"key": self._spec.key, "domain": domain, "images": [image for image, _ in keys], **boxes}
        with self._database.transaction(_TIMEOUT_S) as cursor:
            cursor.execute(sql.REMOVE, parameters)
            ((removed,),) = cursor.fetchall()
        return int(removed)

    def _rows(self, domain: str, content: str) -> Iterator[tuple[str, str, FaceBox, str | None, Any]]:
        scope = {"key": self._spec.key, "domain": domain, "rows": _PAGE_ROWS}
        page_of = sql.PAGE.format(content=content)
        with self._database.transaction(_TIMEOUT_S, read_only=True) as cursor:
            cursor.execute(sql.SNAPSHOT)
            cursor.execute(page_of, scope | {"after": 0})
            while page := cursor.fetchall():
                for _, person, image, x, y, w, h, sha256, sent in page:
                    yield person, image, FaceBox(x, y, w, h), sha256, sent
                cursor.execute(page_of, scope | {"after": page[-1][0]})
