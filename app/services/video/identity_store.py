"""The rows that a video leaves: its identities, their crops, and what they match. Written by workers only."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.domain import FaceMatches, RecognizedFace
from app.services.parity.person_rows import KnownElsewhere, gone_persons
from app.services.profiles.records import ProfileMatch
from app.services.stored_values import storable
from app.services.video import identity_sql as sql
from app.services.video.job_records import Job, JobCancelled
from app.services.video.objects import crop_key
from app.services.video.records import Identity, SeenFace, VideoAnalysis

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

_LIMIT_S = 30.0
_MOST_LINKS = 200  # of an identity
_LINK = ("cluster_id", "other_job_id", "other_cluster_id", "similarity")


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A face of which a picture is kept.

    :param position: 0 for the identity's best face.
    """

    cluster_id: int
    position: int
    key: str
    face: SeenFace


class IdentityStore:
    """Writes what was found in a video; every method is one transaction, and run again it leaves the same rows.

    All raise `JobCancelled` where the attempt is not the job's any more or the job was cancelled, and
    `StoreUnavailable`; both have then changed nothing.

    :param spec_key: of the engine in use, whatever it was when the video came.
    :param known_elsewhere: (domain, names) -> those of the names whom a gallery beside the database knows.
    """

    def __init__(
        self, database: Database, spec_key: str, known_elsewhere: KnownElsewhere = lambda _, names: set(names)
    ) -> None:
        self._database = database
        self._spec_key = spec_key
        self._known_elsewhere = known_elsewhere

    def replace(self, job: Job, analysis: VideoAnalysis) -> None:
        """Store what the video is, and its identities in the place of an earlier attempt's, their crops and links."""
        rows = [_identity_row(job, identity) for identity in analysis.identities]
        facts = json.dumps(asdict(analysis.facts))
        with self._ours(job) as cursor:
            cursor.execute(sql.SET_FACTS, {"job_id": job.job_id, "facts": facts})
            cursor.execute(sql.REMOVE, {"job_id": job.job_id})
            named = {"job_id": job.job_id, "tenant_id": job.tenant_id, "spec_key": self._spec_key}
            cursor.execute(sql.INSERT, named | {"rows": json.dumps(rows)})

    def save_crops(self, job: Job, crops: Iterable[Crop]) -> None:
        """Store where the crops are, once they are there."""
        rows = [_crop_row(crop) for crop in crops]
        with self._ours(job) as cursor:
            cursor.execute(sql.INSERT_CROPS, {"job_id": job.job_id, "rows": json.dumps(rows)})

    def save_gallery_matches(
        self, job: Job, matches: Mapping[int, RecognizedFace], outcome: Mapping[str, str | None]
    ) -> None:
        """Store whom the domain's gallery knows, without those who were deleted or renamed since it was searched.

        :param matches: by `cluster_id`.
        :param outcome: `status` and `reason`, as for profiles.
        """
        names = sorted({match.person for face in matches.values() for match in face.matches})
        with self._ours(job) as cursor:
            gone = gone_persons(cursor, job.domain, names, self._known_elsewhere)
            rows = [_matches_row(number, face, gone) for number, face in matches.items()]
            cursor.execute(sql.SET_MATCHES, {"job_id": job.job_id, "rows": json.dumps(rows)})
            cursor.execute(sql.SET_GALLERY_SEARCH, {"job_id": job.job_id, "outcome": json.dumps(outcome)})

    def link(self, job: Job, cluster_ids: Sequence[int], max_distance: float) -> int:
        """Link these identities with the same persons in the tenant's other videos; how many links that gave.

        Two transactions: while all the tenant's identities are measured, the job is not locked, so that it can be
        cancelled and deleted.

        :param max_distance: the largest cosine distance of the same person.
        """
        asked = {"job_id": job.job_id, "clusters": list(cluster_ids), "max_distance": max_distance}
        with self._database.transaction(_LIMIT_S, read_only=True, settings=sql.NEAR_SETTINGS) as cursor:
            cursor.execute(sql.NEAR, asked | {"limit": _MOST_LINKS})
            rows = [dict(zip(_LINK, row, strict=True)) for row in cursor.fetchall()]
        with self._ours(job) as cursor:
            cursor.execute(sql.INSERT_LINKS, {"job_id": job.job_id, "rows": json.dumps(rows)})
            return cursor.rowcount

    def note_links(self, job: Job, outcome: Mapping[str, str | None]) -> None:
        """Note how looking for links went: `status` and `reason`."""
        with self._ours(job) as cursor:
            cursor.execute(sql.SET_LINK_SEARCH, {"job_id": job.job_id, "outcome": json.dumps(outcome)})

    def save_profiles(self, job: Job, matches: Iterable[ProfileMatch]) -> None:
        """Store these matches, and remove those of an earlier attempt that are not among them."""
        rows = json.dumps([_profile_row(match) for match in matches])
        with self._ours(job) as cursor:
            named = {"job_id": job.job_id, "tenant_id": job.tenant_id, "rows": rows}
            cursor.execute(sql.REMOVE_OTHER_PROFILES, named)
            cursor.execute(sql.UPSERT_PROFILES, named)

    def clear(self, job: Job) -> None:
        """Remove everything; for a job that has ended without a result."""
        with self._database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.REMOVE, {"job_id": job.job_id})
            cursor.execute(sql.REMOVE_PROFILES, {"job_id": job.job_id})

    @contextmanager
    def _ours(self, job: Job) -> Iterator[Cursor]:
        with self._database.transaction(_LIMIT_S) as cursor:
            cursor.execute(sql.STILL_OURS, {"job_id": job.job_id, "started_at": job.started_at})
            if cursor.fetchone() is None:
                raise JobCancelled("The job is not to be worked on any more.")
            yield cursor


def crops_of(job: Job, identities: Iterable[Identity]) -> list[Crop]:
    """The faces that have a picture, the best of each identity first."""
    crops = []
    for identity in identities:
        pictured = [face for face in identity.faces if face.crop_jpeg]
        pictured.sort(key=lambda face: (-face.quality.score, face.at_s))
        for position, face in enumerate(pictured):
            key = crop_key(job.job_id, identity.cluster_id, position)
            crops.append(Crop(identity.cluster_id, position, key, face))
    return crops


def recognised(identities: Sequence[Identity], matches: Sequence[FaceMatches]) -> dict[int, RecognizedFace]:
    """Whom the gallery takes each identity for, by `cluster_id`."""
    found = zip(identities, matches, strict=True)
    return {identity.cluster_id: RecognizedFace(identity.best_face.box, persons) for identity, persons in found}


def _identity_row(job: Job, identity: Identity) -> dict[str, Any]:
    best = identity.best_face
    vector = None if identity.embedding is None else str(np.asarray(identity.embedding, dtype=np.float32).tolist())
    return {
        "cluster_id": identity.cluster_id,
        "face_count": identity.face_count,
        "avg_quality": identity.avg_quality,
        "best_face": _face(best) | {"crop": crop_key(job.job_id, identity.cluster_id, 0)},
        "timeline": [asdict(appearance) for appearance in identity.appearances],
        "embedding": vector,
    }


def _face(face: SeenFace) -> dict[str, Any]:
    return {"at_s": face.at_s, "quality": face.quality.score, "box": asdict(face.box)}


def _crop_row(crop: Crop) -> dict[str, Any]:
    return {"cluster_id": crop.cluster_id, "position": crop.position, "key": crop.key} | _face(crop.face)


def _matches_row(cluster_id: int, face: RecognizedFace, gone: Collection[str]) -> dict[str, Any]:
    known = RecognizedFace(face.box, tuple(match for match in face.matches if match.person not in gone))
    return {"cluster_id": cluster_id, "matches": storable(known.to_json()["matches"])}


def _profile_row(match: ProfileMatch) -> dict[str, Any]:
    """Somebody's biography may hold what Postgres cannot."""
    return dict(storable(asdict(match)))
