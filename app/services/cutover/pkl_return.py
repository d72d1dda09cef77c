"""Makes a domain's PKL hold everybody of the database, so that going back loses nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from app.domain import GalleryFace
from app.errors import Conflict, UnknownDomain
from app.gallery_view import SearchableGallery
from app.services.transfer.gallery_lint import all_faces
from app.services.transfer.reconciliation import Difference, as_in_pkl, compare
from app.services.transfer.stored_faces import FaceKey, StoredFaces


@dataclass(frozen=True, slots=True)
class Galleries:
    """Both galleries, with every face they hold.

    :param pkl: the domain's PKL with its journal, as it is now.
    :param write: puts these faces in the place of the domain's PKL.
    :param settle: brings a change of persons to its end whose process died.
    :param writing: keeps everybody else from changing the domain's persons.
    """

    pkl: Callable[[str], SearchableGallery]
    stored: StoredFaces
    write: Callable[[str, Iterable[GalleryFace]], object]
    settle: Callable[[str], None]
    writing: Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Returned:
    """What had to be done.

    :param added: faces that only the database had.
    :param corrected: faces that the PKL had in another state.
    :param kept: faces that only the PKL has; they stay.
    """

    domain: str
    added: int
    corrected: int
    kept: int


def bring_home(galleries: Galleries, domain: str) -> Returned:
    """Write into the PKL what it lacks of the database, and prove that it lacks nothing.

    :raises Conflict: it still lacks somebody, or a name cannot be written as a folder's.
    :raises StoreUnavailable: a gallery cannot be read, the PKL cannot be written, or somebody changes persons.
    """
    galleries.settle(domain)
    with galleries.writing(domain):
        difference = _compared(galleries, domain)
        if lacking(difference):
            galleries.write(domain, list(_whole(galleries, domain, difference)))
            left = lacking(_compared(galleries, domain))
            if left:
                raise Conflict(
                    f"The PKL of {domain} still lacks faces of the database ({len(left):,}), because its journal says "
                    f"otherwise of their photos. Fold it (python -m scripts.fold_pkl_journal {domain}) a day after the "
                    "last change, or go on without them with --force."
                )
    corrected = len(difference.other_vector) + len(difference.other_person)
    return Returned(domain, len(difference.only_in_database), corrected, len(difference.only_in_pkl))


def lacking(difference: Difference) -> frozenset[FaceKey]:
    """The faces that a PKL has to take over to hold all that the database holds."""
    return frozenset(difference.only_in_database + difference.other_vector + difference.other_person)


def _compared(galleries: Galleries, domain: str) -> Difference:
    return compare(_in_pkl(galleries, domain), galleries.stored.digests(domain))


def _whole(galleries: Galleries, domain: str, difference: Difference) -> Iterator[GalleryFace]:
    """Every face of the PKL that the database does not contradict, and those of the database that it lacks."""
    wanted = lacking(difference)
    for face in _in_pkl(galleries, domain):
        if (face.image, face.box) not in wanted:
            yield face
    for face in galleries.stored.faces(domain):
        written = as_in_pkl(face)
        if (face.image, face.box) in wanted or (written.image, written.box) in wanted:
            yield written


def _in_pkl(galleries: Galleries, domain: str) -> list[GalleryFace]:
    """None where there is no PKL: after the cutover there may be none."""
    try:
        return list(all_faces(galleries.pkl(domain)))
    except UnknownDomain:
        return []
