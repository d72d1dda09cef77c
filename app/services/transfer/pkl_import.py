"""Carries a PKL gallery into the database, and proves afterwards that both answer alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from app.domain import GalleryFace
from app.gallery_view import SearchableGallery
from app.services.recognition_service import RecognitionService
from app.services.transfer.answer_proof import EVERYBODY, Agreement, Float32Gallery, compare_galleries, random_probes
from app.services.transfer.bulk_load import ROWS_AT_A_TIME, BulkLoader
from app.services.vector_db_service import AddReport

if TYPE_CHECKING:
    from app.services.gallery import Gallery

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """How an import is proved.

    :param probes: so many random rows of the PKL are searched in both.
    :param target_recall: least share of the persons that a search through the index must find, 0 to 1.
    :param seed: the same seed takes the same rows.
    """

    probes: int = 200
    target_recall: float = 0.99
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Proof:
    """The PKL's answers against the database's.

    :param exact: searched by measuring every face; must agree entirely.
    :param served: searched as the service does, through the index where it pays.
    """

    exact: Agreement
    served: Agreement
    target_recall: float

    @property
    def holds(self) -> bool:
        """Whether the import can be relied on."""
        complete = self.exact.probes > 0 and self.exact.equal == self.exact.probes
        return complete and self.served.recall >= self.target_recall

    def to_document(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        return {"holds": self.holds, "exact": self.exact.to_document(), "served": self.served.to_document()}


def import_faces(
    loader: BulkLoader, domain: str, faces: Iterable[GalleryFace], progress: Progress, chunk: int = ROWS_AT_A_TIME
) -> AddReport:
    """Load the faces in chunks, each committed: what is stored already is left as it is, so it can be started again.

    :param progress: told after each chunk how many more rows are done.
    :raises StoreUnavailable: the database failed; earlier chunks stay.
    """
    total = AddReport(0, 0, 0, 0)
    for rows in _chunks(faces, chunk):
        with loader.transaction() as cursor:
            report = loader.load(cursor, domain, rows)
        total = _sum(total, report)
        progress(len(rows))
    return total


def prove(
    gallery: SearchableGallery, domain: str, exact: Gallery, served: Gallery, request: ProofRequest, progress: Progress
) -> Proof:
    """Search random rows of the PKL gallery in the PKL and in the database.

    :param exact: the database, every face measured; :param served: the database as the service searches it; both
        with `EVERYBODY` for their policy.
    :param progress: told after each search; there are two per probe.
    """
    rows = Float32Gallery.of(gallery)
    pkl = RecognitionService(lambda _: rows, lambda: frozenset({domain}), EVERYBODY)
    probes = random_probes(gallery, request.probes, request.seed)
    by_measuring = compare_galleries(pkl, exact, domain, probes, progress)
    as_served = compare_galleries(pkl, served, domain, probes, progress)
    return Proof(by_measuring, as_served, request.target_recall)


def _chunks(faces: Iterable[GalleryFace], size: int) -> Iterator[list[GalleryFace]]:
    remaining = iter(faces)
    while rows := list(islice(remaining, size)):
        yield rows


def _sum(one: AddReport, other: AddReport) -> AddReport:
    return AddReport(
        one.inserted + other.inserted,
        one.updated + other.updated,
        one.unchanged + other.unchanged,
        one.left_out + other.left_out,
    )
