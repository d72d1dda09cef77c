"""What was found in a video, as the API tells it."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.errors import NotFound
from app.services.profiles.records import PLATFORMS
from app.services.video import result_sql as sql
from app.services.video.job_records import Job, JobScope

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor, Database

_LIMIT_S = 5.0
_NOT_SEARCHED = {"status": "off", "reason": "Profile search was not on when this video was processed."}

# What Instagram tells beside the fields that every platform has (CONTRACT, part B).
_INSTAGRAM = (
    "biography",
    "follower_count",
    "following_count",
    "media_count",
    "category",
    "full_name",
    "external_url",
)
_MEDIA_TYPES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG", "image/png"))

Document = dict[str, Any]
Photos = Callable[[Iterable[str]], Mapping[str, bytes]]


@dataclass(frozen=True, slots=True)
class StoredMatch:
    """A row of `profile_matches`."""

    match_id: int
    cluster_id: int
    entity_id: str
    similarity: float
    platform: str
    profile_name: str | None
    profile_id: str | None
    profile_url: str | None
    profile_image_path: str | None
    raw_metadata: Mapping[str, Any]
    created_at: datetime

    def in_results(self) -> Document:
        """The element of `profile_matches` in a video's results."""
        shown = ("entity_id", "similarity", "platform", "profile_id", "profile_url", "profile_image_path")
        return {name: getattr(self, name) for name in shown} | {"name": self.profile_name} | self._more()

    def in_profiles(self) -> Document:
        """The element of `profile_matches` in the answer about one identity."""
        kept = [f.name for f in fields(self) if f.name not in ("cluster_id", "raw_metadata")]
        document = {name: getattr(self, name) for name in kept}
        return document | {"created_at": self.created_at.isoformat(timespec="seconds")} | self._more()

    def _more(self) -> Document:
        key = next((key for key, platform in PLATFORMS.items() if platform == self.platform), "")
        profile = self.raw_metadata.get(key) if self.platform == "instagram" else None
        if not isinstance(profile, Mapping):
            return {}
        return {name: profile[name] for name in _INSTAGRAM if profile.get(name) is not None}


class VideoResults:
    """Reads what workers wrote; raises `StoreUnavailable` where the database cannot be asked.

    :param photos: keys -> those photos of profiles that could be had.
    """

    def __init__(self, database: Database, photos: Photos) -> None:
        self._database = database
        self._photos = photos

    def of(self, job: Job, scope: JobScope) -> Document:
        """The results of a job that is done: its identities, the outliers last.

        :param scope: links to jobs outside of it are left out.
        """
        asked = {"job_id": job.job_id} | scope.to_row()
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            found = {name: _by_cluster(cursor, query, asked) for name, query in _PARTS.items()}
            matches = _by_identity(_matches(cursor, sql.PROFILE_MATCHES, asked))
            cursor.execute(sql.IDENTITIES, asked)
            rows = cursor.fetchall()
        return {
            "job_id": job.job_id,
            "tenant_id": job.tenant_id,
            "domain": job.domain,
            "state": str(job.state),
            "video": asdict(job.facts),
            "faces": job.faces,
            "identities": [_identity(job.job_id, row, found, matches) for row in rows],
            "gallery_search": job.gallery_search,
            "link_search": job.link_search,
            "profile_search": job.profile_search or _NOT_SEARCHED,
        }

    def profiles(self, job: Job, cluster_id: int, include_image: bool) -> Document:
        """The stored profile matches of an identity, best first.

        :param include_image: with each photo that can be had, as a base64 data URL.
        :raises NotFound: code `identity_unknown`.
        """
        asked = {"job_id": job.job_id, "cluster_id": cluster_id}
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.HAS_IDENTITY, asked)
            if cursor.fetchone() is None:
                raise NotFound("This video has no such identity.", code="identity_unknown")
            matches = _matches(cursor, sql.PROFILE_MATCHES_OF_IDENTITY, asked)
        documents = [match.in_profiles() for match in matches]
        if include_image:
            self._add_photos(documents)
        around = {"job_id": job.job_id, "tenant_id": job.tenant_id, "cluster_id": cluster_id}
        return around | {"count": len(documents), "profile_matches": documents}

    def crop_key(self, job: Job, cluster_id: int, position: int) -> str:
        """:raises NotFound: code `crop_unknown`."""
        asked = {"job_id": job.job_id, "cluster_id": cluster_id, "position": position}
        with self._database.transaction(_LIMIT_S, read_only=True) as cursor:
            cursor.execute(sql.CROP_KEY, asked)
            row = cursor.fetchone()
        if row is None:
            raise crop_unknown()
        return str(row[0])

    def _add_photos(self, documents: Sequence[Document]) -> None:
        keys = {document["profile_image_path"] for document in documents} - {None}
        photos = self._photos(sorted(keys)) if keys else {}
        for document in documents:
            photo = photos.get(document["profile_image_path"])
            if photo is not None:
                document["profile_image_base64"] = _data_url(photo)


def crop_unknown() -> NotFound:
    """The error for a crop that is not there."""
    return NotFound("There is no such crop.", code="crop_unknown")


def crop_url(job_id: str, cluster_id: int, position: int) -> str:
    """Where a crop is had from."""
    return f"/v3/crops/{job_id}/{cluster_id}_{position}.jpg"


_PARTS = {"crops": sql.CROPS, "links": sql.LINKS}


def _by_cluster(cursor: Cursor, query: str, asked: Document) -> dict[int, list[tuple[Any, ...]]]:
    cursor.execute(query, asked)
    rows: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for cluster_id, *row in cursor.fetchall():
        rows[cluster_id].append(tuple(row))
    return rows


def _matches(cursor: Cursor, query: str, asked: Document) -> list[StoredMatch]:
    cursor.execute(query, asked)
    return [StoredMatch(*row) for row in cursor.fetchall()]


def _by_identity(matches: Iterable[StoredMatch]) -> dict[int, list[Document]]:
    documents: dict[int, list[Document]] = defaultdict(list)
    for match in matches:
        documents[match.cluster_id].append(match.in_results())
    return documents


def _identity(
    job_id: str,
    row: tuple[Any, ...],
    found: Mapping[str, Mapping[int, list[tuple[Any, ...]]]],
    matches: Mapping[int, list[Document]],
) -> Document:
    cluster_id, face_count, avg_quality, best_face, timeline, persons = row
    crops = [_crop(job_id, cluster_id, crop) for crop in found["crops"].get(cluster_id, [])]  # the best face's first
    return {
        "cluster_id": cluster_id,
        "face_count": face_count,
        "avg_quality": round(avg_quality, 4),
        "best_face": {name: best_face.get(name) for name in ("at_s", "box", "quality")}
        | {"crop_url": crops[0]["url"] if crops else None},
        "timeline": timeline,
        "crops": crops,
        "matches": persons,
        "links": [_link(link) for link in found["links"].get(cluster_id, [])],
        "profile_matches": matches.get(cluster_id, []),
    }


def _crop(job_id: str, cluster_id: int, row: tuple[Any, ...]) -> Document:
    position, _, at_s, quality, box = row
    shown = {"url": crop_url(job_id, cluster_id, position), "at_s": at_s, "quality": round(quality, 4)}
    return shown | {"box": box}


def _link(row: tuple[Any, ...]) -> Document:
    job_id, cluster_id, similarity, video = row
    return {"job_id": job_id, "cluster_id": cluster_id, "similarity": round(similarity, 6), "video": video}


def _data_url(photo: bytes) -> str:
    kind = next((kind for magic, kind in _MEDIA_TYPES if photo.startswith(magic)), None)
    if kind is None:
        kind = "image/webp" if photo[8:12] == b"WEBP" else "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(photo).decode()}"
