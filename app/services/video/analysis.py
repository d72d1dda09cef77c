"""A video in, identities out: frames -> faces -> tracks -> identities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import structlog

from app.domain import Face, ImageBgr
from app.errors import AppError
from app.services.video.clustering import Limits, clusters_of
from app.services.video.crops import Crops
from app.services.video.identities import IdentityRules, identities_of
from app.services.video.quality import face_quality
from app.services.video.records import EmbeddedFace, Frame, SeenFace, VideoAnalysis, VideoFacts
from app.services.video.tracks import Track, Tracker, TrackRules, unit

if TYPE_CHECKING:
    from app.adapters.video_file import VideoReader

log = structlog.get_logger(__name__)

_FORGIVEN_FRAMES = 20
# Of the threshold of a match: means of faces have less noise than one photo has, so different persons are nearer too
# (docs/video.md has the figures).
_SURE_SHARE = 0.8


class Watch(Protocol):
    """Who is told how far a video is."""

    def progress(self, frames_done: int, frames_total: int | None, faces: int) -> None:
        """Called for each frame that is looked at, several times a second: what is slow in it must skip some.

        :param frames_done: of the container's frames, how many were passed.
        :param frames_total: None where the container does not say.
        :param faces: found so far.
        """
        ...


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """How a video is analysed.

    :param sample_fps: frames looked at per second, as the reader gives them.
    :param max_distance: largest cosine distance of a match, the engine's own.
    :param min_face_px: shorter side of a face's box, in pixels of the frame; smaller faces are passed over.
    :param max_crops: crops kept of an identity.
    :param min_quality: a face seen once that resembles nobody is an outlier below this score.
    """

    sample_fps: float
    max_distance: float
    min_face_px: int
    max_crops: int = 8
    min_quality: float = 0.4

    @property
    def max_gap_s(self) -> float:
        """How long a face may be out of sight within one appearance: three looks, and not under a second."""
        return max(1.0, 3 / self.sample_fps)


@dataclass(frozen=True, slots=True, eq=False)
class FoundTracks:
    """What reading a video gave: its tracks in the order in which they begin."""

    facts: VideoFacts
    frames: int
    tracks: list[Track]


class VideoAnalyser:
    """Finds out whom a video shows.

    :param embed_faces: finds and embeds the faces of a picture, (H, W, 3) uint8, BGR, upright.
    """

    def __init__(
        self, embed_faces: Callable[[ImageBgr], list[Face]], reader: VideoReader, options: AnalysisOptions
    ) -> None:
        self._embed_faces = embed_faces
        self._reader = reader
        self._options = options

    def analyse(self, path: Path, watch: Watch) -> VideoAnalysis:
        """`read`, then `identify`."""
        return self.identify(self.read(path, watch))

    def read(self, path: Path, watch: Watch) -> FoundTracks:
        """Look at the frames, find faces and follow them. Nearly all the time is spent here.

        What `watch.progress` raises ends it and is passed on; nothing remains open.

        :raises UnsupportedVideo, TooLarge: as the reader raises them.
        :raises AppError: `engine_failed`, the engine fails on frame after frame.
        """
        facts = self._reader.probe(path)
        tracker = Tracker(TrackRules(self._options.max_distance, self._options.max_gap_s))
        crops, engine = Crops(self._options.max_crops), _PatientEngine(self._embed_faces)
        looked_at = faces = 0
        frame = None
        with closing(self._reader.frames(path)) as frames:
            for frame in frames:
                seen = self._seen(frame, engine.faces_of(frame))
                for track in tracker.add(frame.number, seen):
                    crops.take(track, frame.pixels)
                looked_at, faces = looked_at + 1, faces + len(seen)
                watch.progress(frame.number, facts.frames or None, faces)
        return FoundTracks(_completed(facts, frame), looked_at, tracker.finish())

    def identify(self, found: FoundTracks) -> VideoAnalysis:
        """Cluster the tracks to identities; seconds for a video of hours."""
        o = self._options
        groups = clusters_of(found.tracks, Limits(_SURE_SHARE * o.max_distance, o.max_distance))
        identities = identities_of(groups, IdentityRules(o.min_quality, o.max_gap_s, o.max_crops))
        return VideoAnalysis(found.facts, found.frames, identities)

    def _seen(self, frame: Frame, faces: Sequence[Face]) -> list[EmbeddedFace]:
        large = (face for face in faces if min(face.box.w, face.box.h) >= self._options.min_face_px)
        return [EmbeddedFace(_seen_face(frame, face), unit(face.embedding).astype(np.float32)) for face in large]


class _PatientEngine:
    """The engine, forgiven a few frames that it fails on: a long video need not be lost for them."""

    def __init__(self, embed_faces: Callable[[ImageBgr], list[Face]]) -> None:
        self._embed_faces = embed_faces
        self._failed = 0

    def faces_of(self, frame: Frame) -> list[Face]:
        try:
            return self._embed_faces(frame.pixels)
        except AppError as error:
            self._failed += 1
            if error.error_code != "engine_failed" or self._failed > _FORGIVEN_FRAMES:
                raise
            log.warning("video.frame_left_out", at_s=round(frame.at_s, 1), reason=error.message)
            return []


def _seen_face(frame: Frame, face: Face) -> SeenFace:
    return SeenFace(round(frame.at_s, 3), frame.shot, face.box, face_quality(frame.pixels, face.box), crop_jpeg=b"")


def _completed(facts: VideoFacts, last: Frame | None) -> VideoFacts:
    """The facts, with the length that was seen where the container says none."""
    if facts.frames or last is None:
        return facts
    return replace(facts, frames=last.number, duration_s=round(last.at_s, 3))
