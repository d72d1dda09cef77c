"""Tracks: the faces of one person in a row, within a shot, linked from one looked-at frame to the next.

A face goes on with the track that it resembles, or that it resembles nearly and whose place it overlaps; which face
with which track is decided for the whole frame at once (Kuhn, The Hungarian method, 1955). Faces of one frame never
share a track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.domain import FaceBox, FloatArray
from app.services.video.records import EmbeddedFace, SeenFace

_OVERLAP = 0.3  # intersection over union from which a face is at the same place
_SAME_PLACE_SLACK = 1.2  # times the threshold: what the distance of a face at the same place may be
_LEAST_WEIGHT = 0.01  # so that a track of the poorest faces has a direction too
_NEVER = 1e3


@dataclass(frozen=True, slots=True)
class TrackRules:
    """What makes two faces one track.

    :param max_distance: largest cosine distance of the same person.
    :param max_gap_s: a track that was not seen for so long has ended.
    """

    max_distance: float
    max_gap_s: float


@dataclass(slots=True, eq=False)
class Track:
    """Faces of one person in one shot, in the order of time.

    :param frames: numbers of the frames they are of.
    :param total: (D,) float64, the sum of their embeddings of unit length, weighted by quality.
    :param last_embedding: (D,) of unit length, of the last face; of the others none is kept.
    """

    faces: list[SeenFace] = field(default_factory=list)
    frames: set[int] = field(default_factory=set)
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    weight: float = 0.0
    last_embedding: FloatArray = field(default_factory=lambda: np.zeros(0))

    def add(self, frame: int, found: EmbeddedFace) -> None:
        """Go on with this face."""
        weight = max(found.face.quality.score, _LEAST_WEIGHT)
        weighted = found.embedding.astype(np.float64) * weight
        self.total = self.total + weighted if self.faces else weighted
        self.weight += weight
        self.frames.add(frame)
        self.faces.append(found.face)
        self.last_embedding = found.embedding

    @property
    def direction(self) -> NDArray[np.float64]:
        """(D,) float64 of unit length: the mean of the faces."""
        return unit(self.total)

    @property
    def last(self) -> SeenFace:
        return self.faces[-1]


class Tracker:
    """Builds the tracks of a video, frame by frame."""

    def __init__(self, rules: TrackRules) -> None:
        self._rules = rules
        self._open: list[Track] = []
        self.ended: list[Track] = []

    def add(self, frame: int, faces: Sequence[EmbeddedFace]) -> list[Track]:
        """The track of each face of a frame; frames come in the order of time."""
        if not faces:
            return []
        self._end_those_before(faces[0].face)
        chosen = self._assigned(faces)
        tracks = [chosen.get(number) or self._begun() for number in range(len(faces))]
        for track, face in zip(tracks, faces, strict=True):
            track.add(frame, face)
        return tracks

    def finish(self) -> list[Track]:
        """All tracks, in the order in which they begin."""
        self._end(self._open)
        self._open = []
        return sorted(self.ended, key=lambda track: (track.faces[0].at_s, track.faces[0].box.x, track.faces[0].box.y))

    def _begun(self) -> Track:
        self._open.append(Track())
        return self._open[-1]

    def _end_those_before(self, face: SeenFace) -> None:
        oldest = face.at_s - self._rules.max_gap_s
        over = [each for each in self._open if each.last.shot != face.shot or each.last.at_s < oldest]
        self._end(over)
        self._open = [each for each in self._open if each not in over]

    def _end(self, tracks: Sequence[Track]) -> None:
        self.ended.extend(tracks)

    def _assigned(self, faces: Sequence[EmbeddedFace]) -> dict[int, Track]:
        """By the number of the face, the open track that it goes on with."""
        if not self._open:
            return {}
        from scipy.optimize import linear_sum_assignment  # here, because scipy takes long to import

        costs = np.array([[self._cost(face, track) for track in self._open] for face in faces])
        pairs = zip(*linear_sum_assignment(costs), strict=True)
        return {int(face): self._open[track] for face, track in pairs if costs[face, track] < _NEVER}

    def _cost(self, found: EmbeddedFace, track: Track) -> float:
        """0 for the same face at the same place, `_NEVER` for another person's."""
        likeness = max(float(found.embedding @ track.direction), float(found.embedding @ track.last_embedding))
        distance = 1 - likeness
        overlap = intersection_over_union(found.face.box, track.last.box)
        slack = _SAME_PLACE_SLACK if overlap >= _OVERLAP else 1.0
        if distance > self._rules.max_distance * slack:
            return _NEVER
        return distance / self._rules.max_distance + (1 - overlap)


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector at length 1; what has none stays as it is."""
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def intersection_over_union(a: FaceBox, b: FaceBox) -> float:
    """How much two boxes cover each other, 0 to 1."""
    across = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    down = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(0, across) * max(0, down)
    return shared / (a.area + b.area - shared) if shared else 0.0
