"""What a gallery is: one contract, two implementations (the PKL gallery and the pgvector gallery)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceMatches


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
