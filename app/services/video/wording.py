"""Video jobs in words: states, stages, times, and how much a similarity says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.services.video.job_records import JobState

STATES: Mapping[str, str] = {
    JobState.QUEUED: "Waiting",
    JobState.RUNNING: "Running",
    JobState.DONE: "Done",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
}
STAGES: Mapping[str, str] = {
    "reading": "Reading frames and faces",
    "clustering": "Telling persons apart",
    "storing": "Storing identities and faces",
    "matching": "Searching the gallery and other videos",
    "profiles": "Searching profiles",
    "publishing": "Publishing",
}
STORES: Mapping[str, str] = {
    "vectors": "Faces",
    "documents": "Metadata",
    "photos": "Photos",
}
STORE_KINDS: Mapping[str, str] = {
    "milvus": "Milvus",
    "mongodb": "MongoDB",
    "s3": "S3",
    "postgres": "own Postgres",
    "folder": "own folder",
}

# The models whose similarities the scale was made for: both are ArcFace networks; buffalo_l's is w600k_r50.
_ON_THE_SCALE = frozenset({"ArcFace", "Buffalo_L"})
_MINUTE, _HOUR = 60, 3600
_SOON_S = 90  # up to there seconds are counted, beyond it minutes


@dataclass(frozen=True, slots=True)
class Strength:
    """How much a similarity says.

    :param look: of the tag that shows it.
    """

    least: float
    word: str
    look: str


# CONTRACT, part B: cosine similarities of ArcFace w600k_r50.
SCALE = (
    Strength(0.90, "near-certain", "ok"),
    Strength(0.80, "very strong", "ok"),
    Strength(0.70, "strong", "judged"),
    Strength(0.60, "weak", "warn"),
    Strength(-1.0, "below weak", ""),
)


def has_scale(model: str | None) -> bool:
    """Whether the contract's scale is this model's; None for one that is not known any more."""
    return model in _ON_THE_SCALE


def strength(similarity: float, model: str | None) -> Strength | None:
    """What a cosine similarity says; None for a model that has another scale."""
    if not has_scale(model):
        return None
    return next(step for step in SCALE if similarity >= step.least or step is SCALE[-1])


def clock(seconds: float) -> str:
    """A place in a video: `0:07`, `12:40`, `1:02:03`."""
    whole = int(seconds)
    hours, minutes, rest = whole // _HOUR, whole % _HOUR // _MINUTE, whole % _MINUTE
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def time_left(seconds: float | None) -> str:
    """How long a job still takes; empty where nobody can say."""
    if seconds is None:
        return ""
    if seconds < _SOON_S:
        return f"about {seconds:.0f} s left"
    return f"about {seconds / _MINUTE:,.0f} min left"


def size(number_of_bytes: int) -> str:
    """Of a file."""
    megabytes = number_of_bytes / 1024**2
    return f"{megabytes:,.1f} MB" if megabytes >= 0.1 else f"{number_of_bytes / 1024:,.0f} KB"  # noqa: PLR2004
