"""What is done with a video, stage by stage. Each can be done again and leaves the same behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from app.domain import FaceMatches
from app.errors import AppError, NotFound
from app.services.profiles.records import IdentityProbe, ProfileSearchResult
from app.services.video.identity_store import Crop, IdentityStore, crops_of, recognised
from app.services.video.job_records import Job, JobCancelled
from app.services.video.job_store import JobStore
from app.services.video.job_watch import JobWatch
from app.services.video.objects import ObjectStore
from app.services.video.records import Identity, VideoAnalysis

if TYPE_CHECKING:
    from app.services.video.analysis import FoundTracks, Watch

log = structlog.get_logger(__name__)

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
        identities = self._analyse(upload, watch)
        self._store(job, identities, watch)
        searched = [identity for identity in identities if identity.embedding is not None]
        watch.enter("matching")
        self._match_gallery(job, searched, watch)
        links = watch.patiently(partial(self._stores.identities.link, job, self._searches.max_distance))
        watch.enter("profiles")
        self._search_profiles(job, searched, watch)
        log.info("video.worked", job_id=job.job_id, identities=len(identities), links=links)

    def _analyse(self, upload: Path, watch: JobWatch) -> tuple[Identity, ...]:
        watch.enter("reading")
        if not upload.exists():
            raise NotFound("The video's upload is not there any more: send it again.", code="upload_lost")
        found = self._analyser.read(upload, watch)
        watch.enter("clustering")
        return self._analyser.identify(found).identities

    def _store(self, job: Job, identities: Sequence[Identity], watch: JobWatch) -> None:
        """Full results, then crops, then where the crops are."""
        watch.enter("storing")
        store = self._stores.identities
        watch.patiently(partial(store.replace, job, identities))
        crops = crops_of(job, identities)
        for crop in crops:
            watch.check()
            watch.patiently(partial(self._put, crop))
        watch.patiently(partial(store.save_crops, job, crops))

    def _put(self, crop: Crop) -> None:
        self._stores.objects.put(crop.key, crop.face.crop_jpeg, "image/jpeg")

    def _match_gallery(self, job: Job, identities: Sequence[Identity], watch: JobWatch) -> None:
        """A gallery that does not answer leaves a note in the place of names; the video is complete without them."""
        outcome: dict[str, str | None] = {"status": "ok", "reason": None}
        found: list[FaceMatches] = [() for _ in identities]
        try:
            if identities:
                probes = np.stack([np.asarray(i.embedding, dtype=np.float64) for i in identities])
                found = self._searches.gallery(job.domain, probes)
        except AppError as error:
            outcome = {"status": "failed", "reason": error.message}
            log.warning("video.gallery_not_searched", job_id=job.job_id, reason=error.message)
        matches = recognised(identities, found)
        watch.patiently(partial(self._stores.identities.save_gallery_matches, job, matches, outcome))

    def _search_profiles(self, job: Job, identities: Sequence[Identity], watch: JobWatch) -> None:
        """What an earlier attempt found stays where this one could not search."""
        result = self._profiles_of(identities)
        matches = [match for found in result.matches.values() for match in found]
        status, reason = result.status, result.reason
        try:
            if status == "ok":
                watch.patiently(partial(self._stores.identities.save_profiles, job, matches))
        except JobCancelled:
            raise
        except AppError as error:  # what cannot be stored of them is no reason to lose the video
            status, reason = "failed", error.message
        if status == "failed":
            log.warning("video.profiles_not_searched", job_id=job.job_id, reason=reason)
        outcome = {"status": status, "reason": reason, "ms": dict(result.ms)}
        watch.patiently(partial(self._stores.jobs.searched_profiles, job, outcome))

    def _profiles_of(self, identities: Sequence[Identity]) -> ProfileSearchResult:
        if self._searches.profiles is None:
            return NOT_ENABLED
        probes = [IdentityProbe(identity.cluster_id, identity.embedding) for identity in identities]
        try:
            return self._searches.profiles(probes)
        except Exception:
            log.exception("video.profile_search_broke")
            return ProfileSearchResult("failed", "Profile search failed unexpectedly; the log says why.")
