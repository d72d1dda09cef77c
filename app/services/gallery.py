"""What a gallery is: one contract for the PKL gallery and the database's, and one for where the latter searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceMatches

if TYPE_CHECKING:
    from app.services.person_search import StoredFace


class Gallery(Protocol):
    """Finds the best distinct persons for probe embeddings, domain by domain."""

    def domains(self) -> frozenset[str]:
        """The domains that can be searched now.

        :raises StoreUnavailable: the store cannot be asked.
        """
        ...

    def search(self, domain: str, probes: NDArray[np.float64]) -> list[FaceMatches]:
        """The best persons within the threshold, for each probe.

        :param probes: (F, D) float64, D the dimensions of the gallery's spec.
        :return: F tuples, each of at most TOP_PERSONS distinct persons, best first.
        :raises UnknownDomain: the gallery has no such domain.
        :raises StoreUnavailable: the store is down; StoreTimeout: it is too slow.
        :raises SpecMismatch: the gallery's vectors are of another spec.
        """
        ...


class FaceSource(Protocol):
    """Finds the stored faces that may match a probe: Postgres itself, or an index outside of it (GALLERY_BACKEND)."""

    def domains(self) -> frozenset[str]:
        """The domains that can be searched now.

        :raises StoreUnavailable: the store cannot be asked.
        """
        ...

    def candidates(
        self, domain: str, probes: NDArray[np.float64], max_distance: float, timeout_s: float
    ) -> list[list[StoredFace]]:
        """For each probe the faces among which its best persons are, each person by their best images.

        :param probes: (F, D) float64. A probe that is zero or not finite has no candidates.
        :param max_distance: cosine distance beyond which nobody is of interest.
        :raises UnknownDomain: the domain has no faces.
        :raises SpecMismatch: it, or the probes, are of another spec.
        :raises StoreUnavailable: a store is down; StoreTimeout: it is too slow.
        """
        ...
