"""What is done with a video, stage by stage. Each can be done again and leaves the same behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from app.domain import FaceMatches
from app.errors import AppError, NotFound, StoreUnavailable
from app.services.profiles.records import IdentityProbe, ProfileSearchResult
from app.services.video.identity_store import Crop, IdentityStore, crops_of, recognised
from app.services.video.job_records import Job, JobCancelled
from app.services.video.job_store import JobStore
from app.services.video.job_watch import JobInterrupted, JobWatch
from app.services.video.objects import ObjectStore
from app.services.video.records import Identity, VideoAnalysis

if TYPE_CHECKING:
    from app.services.video.analysis import FoundTracks, Watch

log = structlog.get_logger(__name__)

UPLOAD_LOST = "upload_lost"

# Identities in one question to a store. Each question has the store's whole time limit, so that a video of a crowd is
# searched as surely as one of two.
_AT_ONCE = 64
_LINKED_AT_ONCE = 16  # fewer, as each is measured against every identity of the tenant
_SEARCHED: Mapping[str, str | None] = {"status": "ok", "reason": None}

NOT_ENABLED = ProfileSearchResult("off", "Profile search is not switched on (PROFILE_SEARCH_ENABLED).")


class Analyser(Protocol):
    """What finds out whom a video shows: in this process, or elsewhere."""

    def read(self, path: Path, watch: Watch) -> FoundTracks:
        """Nearly all the work; what `watch.progress` raises ends it."""
        ...

    def identify(self, found: FoundTracks) -> VideoAnalysis:
        """The rest."""
        ...


@dataclass(frozen=True, slots=True)
class Searches:
    """Where identities are looked for.

    :param gallery: the persons of a domain within the threshold, for (n, D) probes.
    :param profiles: None where that is not switched on.
    :param max_distance: the largest cosine distance of the same person in another video.
    """

    gallery: Callable[[str, NDArray[np.float64]], list[FaceMatches]]
    profiles: Callable[[Sequence[IdentityProbe]], ProfileSearchResult] | None
    max_distance: float


@dataclass(frozen=True, slots=True)
class VideoStores:
    """Where jobs come from, and what is found goes to."""

    jobs: JobStore
    identities: IdentityStore
    objects: ObjectStore


class VideoStages:
    """Works on a job from its upload to its results."""

    def __init__(self, analyser: Analyser, stores: VideoStores, searches: Searches) -> None:
        self._analyser = analyser
        self._stores = stores
        self._searches = searches

    def work(self, job: Job, upload: Path, watch: JobWatch) -> None:
        """All stages but the last, in the order of the contract.

        :raises JobCancelled, JobInterrupted: as `JobWatch.enter`.
        :raises AppError: the video cannot be read, or a store stayed away.
        """
        analysis = self._analyse(upload, watch)
        self._store(job, analysis, watch)
        searched = [identity for identity in analysis.identities if identity.embedding is not None]
        watch.enter("matching")
        self._match_gallery(job, searched, watch)
        links = self._link(job, searched, watch)
        watch.enter("profiles")
        self._search_profiles(job, searched, watch)
        log.info("video.worked", job_id=job.job_id, identities=len(analysis.identities), links=links)

    def _analyse(self, upload: Path, watch: JobWatch) -> VideoAnalysis:
        watch.enter("reading")
        if not upload.exists():
            raise NotFound("The video's upload is not there any more: send it again.", code=UPLOAD_LOST)
        found = self._analyser.read(upload, watch)
        watch.enter("clustering")
        return self._analyser.identify(found)

    def _store(self, job: Job, analysis: VideoAnalysis, watch: JobWatch) -> None:
        """Full results, then crops, then where the crops are."""
        watch.enter("storing")
        store = self._stores.identities
        watch.patiently(partial(store.replace, job, analysis))
        crops = crops_of(job, analysis.identities)
        for crop in crops:
            watch.check()
            watch.patiently(partial(self._put, crop))
        watch.patiently(partial(store.save_crops, job, crops))

    def _put(self, crop: Crop) -> None:
        self._stores.objects.put(crop.key, crop.face.crop_jpeg, "image/jpeg")

    def _match_gallery(self, job: Job, identities: Sequence[Identity], watch: JobWatch) -> None:
        """A gallery that does not answer leaves a note in the place of names; the video is complete without them."""
        outcome = _SEARCHED
        try:
            found = self._persons(job, identities, watch)
        except JobCancelled:
            raise
        except AppError as error:
            found, outcome = [() for _ in identities], _failed(error)
            log.warning("video.gallery_not_searched", job_id=job.job_id, reason=error.message)
        matches = recognised(identities, found)
        watch.patiently(partial(self._stores.identities.save_gallery_matches, job, matches, outcome))

    def _persons(self, job: Job, identities: Sequence[Identity], watch: JobWatch) -> list[FaceMatches]:
        found: list[FaceMatches] = []
        for part in _parts(identities):
            watch.check()
            probes = np.stack([np.asarray(identity.embedding, dtype=np.float64) for identity in part])
            found += self._searches.gallery(job.domain, probes)
        return found

    def _link(self, job: Job, identities: Sequence[Identity], watch: JobWatch) -> int:
        """How many links there are; where looking for them takes too long, those found so far stay beside a note."""
        outcome, links = _SEARCHED, 0
        try:
            for part in _parts(identities, _LINKED_AT_ONCE):
                watch.check()
                numbers = [identity.cluster_id for identity in part]
                step = partial(self._stores.identities.link, job, numbers, self._searches.max_distance)
                links += watch.patiently(step)
        except StoreUnavailable as error:
            outcome = _failed(error)
            log.warning("video.links_not_searched", job_id=job.job_id, reason=error.message)
        watch.patiently(partial(self._stores.identities.note_links, job, outcome))
        return links

    def _search_profiles(self, job: Job, identities: Sequence[Identity], watch: JobWatch) -> None:
        """Nothing that goes wrong here fails the video; what an earlier attempt found stays where this one did not."""
        result = NOT_ENABLED
        try:
            result = self._profiles_of(identities, watch)
            if result.status == "ok":
                matches = [match for found in result.matches.values() for match in found]
                watch.patiently(partial(self._stores.identities.save_profiles, job, matches))
        except (JobCancelled, JobInterrupted):
            raise
        except Exception as exc:
            result = replace(result, status="failed", reason=_reason(exc))
        if result.status == "failed":
            log.warning("video.profiles_not_searched", job_id=job.job_id, reason=result.reason)
        outcome = {"status": result.status, "reason": result.reason, "ms": dict(result.ms)}
        watch.patiently(partial(self._stores.jobs.searched_profiles, job, outcome))

    def _profiles_of(self, identities: Sequence[Identity], watch: JobWatch) -> ProfileSearchResult:
        """Up to the first question that gets no answer."""
        if self._searches.profiles is None:
            return NOT_ENABLED
        result = ProfileSearchResult("ok")
        for part in _parts(identities):
            watch.check()
            probes = [IdentityProbe(identity.cluster_id, identity.embedding) for identity in part]
            result = _joined(result, self._searches.profiles(probes))
            if result.status != "ok":
                break
        return result


def _parts(identities: Sequence[Identity], size: int = _AT_ONCE) -> Iterator[Sequence[Identity]]:
    return (identities[start : start + size] for start in range(0, len(identities), size))


def _joined(before: ProfileSearchResult, found: ProfileSearchResult) -> ProfileSearchResult:
    ms = {name: round(before.ms.get(name, 0.0) + taken, 1) for name, taken in found.ms.items()}
    return replace(found, matches={**before.matches, **found.matches}, ms={**before.ms, **ms})


def _failed(error: AppError) -> Mapping[str, str | None]:
    return {"status": "failed", "reason": error.message}


def _reason(exc: Exception) -> str:
    if isinstance(exc, AppError):
        return exc.message
    log.exception("video.profile_search_broke")
    return "Profile search failed unexpectedly; the log says why."
