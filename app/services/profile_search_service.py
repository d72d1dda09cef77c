"""Profile search: whom of the operator's index of profiles the identities of a video look like.

Each store is asked once in a search, however many identities it is for. Nothing that a store does is raised: a search
says whether it was done, failed, or is off, and a video is complete without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import structlog
from numpy.typing import NDArray

from app.domain import DISTANCE_DECIMALS, EmbeddingSpec
from app.errors import AppError, SpecMismatch
from app.services.profiles.photo_fetch import fetch
from app.services.profiles.platform_profiles import matches_of
from app.services.profiles.records import (
    IdentityProbe,
    ProfileDocuments,
    ProfileHit,
    ProfileMatch,
    ProfilePhotos,
    ProfileSearchResult,
    ProfileVectors,
)
from app.services.video.records import OUTLIERS

Matches = dict[int, tuple[ProfileMatch, ...]]

_FRESH_S = 5.0  # how long a look at the stores holds
_LOOK_S = 1.5  # what one look may take: health and the start wait for it

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProfileStores:
    """The three stores, and what each is, for the health: `{"vectors": "milvus", ...}`."""

    vectors: ProfileVectors
    documents: ProfileDocuments
    photos: ProfilePhotos
    kinds: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProfileSearchOptions:
    """How identities are searched.

    :param spec: the engine's: the index must hold vectors of as many dimensions.
    :param min_similarity: the least cosine similarity of a match.
    :param top_k: most entities of an identity.
    :param timeout_s: for the vectors, and again for the documents.
    :param photo_timeout_s: for all photos of a request.
    """

    spec: EmbeddingSpec
    min_similarity: float
    top_k: int
    timeout_s: float
    photo_timeout_s: float


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a look at the stores showed.

    :param reasons: by store, why it cannot be used; empty where profiles can be searched.
    :param dimensions: of the index; None where it is empty, or was not reached.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    dimensions: int | None = None

    @property
    def usable(self) -> bool:
        """Whether identities can be searched."""
        return not self.reasons


class ProfileSearchService:
    """Searches identities in the index of profiles; safe under threads, and made anew in each process.

    :param stores: connect when they are first used.
    """

    def __init__(self, stores: ProfileStores, options: ProfileSearchOptions) -> None:
        self._stores = stores
        self._options = options
        self._looking = threading.Lock()
        self._looked: tuple[float, Readiness] | None = None
        self._matched: int | None = None  # the index's dimensions, once they were found to be the engine's
        self._photo_problem: str | None = None

    def connect(self) -> Readiness:
        """Look at the stores, unless that was done a moment ago; never raises."""
        with self._looking:
            if self._looked is None or time.monotonic() - self._looked[0] >= _FRESH_S:
                self._looked = time.monotonic(), self._look()
            return self._looked[1]

    def search_profiles(self, probes: Sequence[IdentityProbe]) -> ProfileSearchResult:
        """The profiles that identities match: one question to the index and one for the documents; never raises.

        Outliers, and identities without an embedding, are not searched.
        """
        searched = [(probe.cluster_id, unit) for probe in probes if (unit := _direction(probe)) is not None]
        ms: dict[str, float] = {}
        try:
            return ProfileSearchResult("ok", matches=self._search(searched, ms) if searched else {}, ms=ms)
        except SpecMismatch as error:
            return _unsearched("off", error, ms)
        except AppError as error:
            return _unsearched("failed", error, ms)
        except Exception as exc:
            log.exception("profile_search.unexpected")
            return _unsearched("failed", AppError(f"An unexpected {type(exc).__name__}; the log has more."), ms)

    def photos(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The photos of these keys that come in time; never raises.

        :return: by the key that was asked for; one that is missing, too large or late is left out.
        """
        fetched = fetch(self._stores.photos, keys, self._options.photo_timeout_s)
        if fetched.photos or fetched.problem:  # where some came, the store is well
            self._photo_problem = None if fetched.photos else fetched.problem
        if fetched.problem:
            log.warning("profile_search.photos_left_out", reason=fetched.problem, came=len(fetched.photos))
        return fetched.photos

    def health_check(self) -> dict[str, Any]:
        """The state of profile search and of each store: `ok`, `degraded` without photos, or `off` with the reason."""
        readiness, kinds = self.connect(), self._stores.kinds
        stores = {name: _store_state(kinds[name], readiness.reasons.get(name)) for name in ("vectors", "documents")}
        stores["photos"] = _store_state(kinds["photos"], self._photo_problem)
        reason = " ".join(dict.fromkeys(readiness.reasons.values())) or self._photo_problem
        state = "off" if not readiness.usable else "degraded" if self._photo_problem else "ok"
        dimensions = {"index": readiness.dimensions, "engine": self._options.spec.dimensions}
        return {"status": state, "stores": stores, "dimensions": dimensions} | ({"reason": reason} if reason else {})

    def close(self) -> None:
        """Close this process's clients."""
        for store in (self._stores.vectors, self._stores.documents, self._stores.photos):
            store.close()

    def _look(self) -> Readiness:
        limit_s = min(_LOOK_S, self._options.timeout_s)
        with ThreadPoolExecutor(2, "profile-stores") as pool:
            vectors = pool.submit(_outcome, lambda: self._dimensions(limit_s))
            documents = pool.submit(_outcome, lambda: self._stores.documents.ping(limit_s))
        found = {"vectors": vectors.result(), "documents": documents.result()}
        reasons = {name: outcome.message for name, outcome in found.items() if isinstance(outcome, AppError)}
        for name, reason in reasons.items():
            log.warning("profile_search.off", store=name, reason=reason)
        dimensions = found["vectors"]
        return Readiness(reasons, dimensions if isinstance(dimensions, int) else None)

    def _dimensions(self, limit_s: float) -> int | None:
        """The index's dimensions, held against the engine's.

        :raises SpecMismatch: they are others.
        """
        self._matched = None
        held = self._stores.vectors.dimensions(limit_s)
        _require_dimensions(held, self._options.spec)
        self._matched = held
        return held

    def _search(self, searched: list[tuple[int, NDArray[np.float32]]], ms: dict[str, float]) -> Matches:
        with _timed(ms, "vectors"):
            hits = self._nearest(np.stack([unit for _, unit in searched]))
        entities = list(dict.fromkeys(hit.entity_id for found in hits for hit in found))
        with _timed(ms, "documents"):
            documents = self._stores.documents.metadata_of(entities, self._options.timeout_s) if entities else {}
        if nameless := len(entities) - len(documents):
            log.warning("profile_search.entities_without_document", count=nameless)
        return {
            cluster: tuple(
                match for hit in found for match in matches_of(cluster, hit, documents.get(hit.entity_id, ()))
            )
            for (cluster, _), found in zip(searched, hits, strict=True)
        }

    def _nearest(self, probes: NDArray[np.float32]) -> list[list[ProfileHit]]:
        """For each probe the entities that are similar enough, in the index's order, each once."""
        options = self._options
        if self._matched is None:  # not seen yet, or changed when it was looked at last
            self._dimensions(options.timeout_s)
        answers = self._stores.vectors.nearest(probes, options.top_k, options.timeout_s)
        return [_each_once(hits, options.min_similarity)[: options.top_k] for hits in answers]


def _require_dimensions(held: int | None, spec: EmbeddingSpec) -> None:
    if held not in (None, spec.dimensions):
        raise SpecMismatch(
            f"The profile index holds vectors of {held} numbers, and {spec.model} makes {spec.dimensions}: set "
            "FACE_MODEL to the index's model, or name an index that was made with this one."
        )


def _direction(probe: IdentityProbe) -> NDArray[np.float32] | None:
    """What is searched: the embedding at length 1; None for an outlier, and where it has no direction."""
    if probe.cluster_id == OUTLIERS or probe.embedding is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(probe.embedding)
    return (probe.embedding / length).astype(np.float32) if np.isfinite(length) and length > 0 else None


def _each_once(hits: Iterable[ProfileHit], min_similarity: float) -> list[ProfileHit]:
    best: dict[str, ProfileHit] = {}
    for hit in hits:
        if round(hit.similarity, DISTANCE_DECIMALS) >= min_similarity:
            best.setdefault(hit.entity_id, hit)
    return list(best.values())


def _unsearched(status: Literal["failed", "off"], error: AppError, ms: Mapping[str, float]) -> ProfileSearchResult:
    log.warning("profile_search.not_done", status=status, reason=error.message, code=error.error_code)
    return ProfileSearchResult(status, error.message, ms=ms)


def _outcome(ask: Callable[[], int | None]) -> int | AppError | None:
    try:
        return ask()
    except AppError as error:
        return error
    except Exception as exc:
        log.exception("profile_search.unexpected")
        return AppError(f"An unexpected {type(exc).__name__}; the log has more.")


def _store_state(kind: str, reason: str | None) -> dict[str, str]:
    return {"kind": kind, "status": "down", "reason": reason} if reason else {"kind": kind, "status": "ok"}


@contextmanager
def _timed(ms: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        ms[name] = round((time.perf_counter() - started) * 1000, 1)
