"""Which tracks are one person: agglomerative clustering by average linkage over cosine distances, with cannot-links.

Clusters whose weighted mean distance is within the limits are merged, the nearest first, unless some frame shows both:
whoever is seen beside somebody is not that person, and what is merged inherits all such frames. Density-based
clustering (HDBSCAN) keeps no such promise, and asks how many tracks a person has at least; here one is enough.

The mean distance of two clusters is 1 - (sum of one) . (sum of the other) / (product of their weights), so one row of D
numbers per cluster is all that is kept, and no matrix of distances: memory grows with the number of tracks, not with
its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from app.services.video.tracks import Track

# A long video is clustered in parts first: who is seen again and again in one is then a single row for the whole.
_TRACKS_AT_ONCE = 1000
# A doubtful pair is one person when its distance is at most this share of that to the next cluster, as Lowe tells a
# match from a chance likeness (Distinctive image features from scale-invariant keypoints, 2004).
_STANDS_OUT = 0.65
_ROWS_AT_ONCE = 256  # of distances, while the first neighbours are looked for


@dataclass(frozen=True, slots=True)
class Limits:
    """Mean cosine distances of two clusters: up to `sure` they are one person, above `possible` they are not.

    In between they are where no other cluster is anywhere as near to either of them.
    """

    sure: float
    possible: float


@dataclass(frozen=True, slots=True, order=True)
class _Neighbour:
    """The nearest cluster that one may be merged with, and the distance; equal ones in the order of their numbers.

    :param merges: how many the two had gone through when this was measured.
    """

    distance: float
    cluster: int
    other: int
    merges: int = 0


class _Clusters:
    """Groups of tracks that become fewer: row i of `means` is the weighted mean of the unit vectors of group i."""

    def __init__(self, groups: Sequence[list[Track]], limits: Limits) -> None:
        self._limits = limits
        self._weights = np.array([sum(track.weight for track in group) for group in groups])
        totals = [np.sum([track.direction * track.weight for track in group], axis=0) for group in groups]
        self._means = (np.stack(totals) / self._weights[:, np.newaxis]).astype(np.float32)
        self._alive = np.ones(len(groups), dtype=np.bool_)
        self._frames = [set[int]().union(*(track.frames for track in group)) for group in groups]
        self.groups = [list(group) for group in groups]

    def first_neighbours(self) -> list[_Neighbour]:
        """Each cluster's nearest."""
        found = []
        for start in range(0, len(self._means), _ROWS_AT_ONCE):
            rows = 1 - self._means[start : start + _ROWS_AT_ONCE] @ self._means.T
            found += [self._nearest(start + number, row) for number, row in enumerate(rows)]
        return [each for each in found if each is not None]

    def neighbour(self, cluster: int) -> _Neighbour | None:
        """The nearest now; None where there is none within the threshold."""
        return self._nearest(cluster, self._distances(cluster))

    def is_alive(self, cluster: int) -> bool:
        return bool(self._alive[cluster])

    def is_current(self, pair: _Neighbour) -> bool:
        """Whether neither of the two has changed since they were measured."""
        return self.is_alive(pair.other) and pair.merges == self._merges(pair.cluster, pair.other)

    def stands_out(self, pair: _Neighbour) -> bool:
        """Whether the two are far nearer to each other than either is to anybody else; no, where there is nobody."""
        rows = np.stack([self._distances(pair.cluster), self._distances(pair.other)])
        rows[:, [pair.cluster, pair.other]] = np.inf
        next_nearest = float(rows.min())
        return np.isfinite(next_nearest) and pair.distance <= _STANDS_OUT * next_nearest

    def merge(self, into: int, merged: int) -> None:
        """Make one cluster of two."""
        total = self._weights[into] + self._weights[merged]
        share = self._weights[into] / total
        self._means[into] = self._means[into] * share + self._means[merged] * (1 - share)
        self._weights[into] = total
        self._frames[into] |= self._frames[merged]
        self.groups[into] += self.groups[merged]
        self._alive[merged] = False
        self._means[merged], self._frames[merged], self.groups[merged] = 0.0, set(), []

    def _merges(self, *clusters: int) -> int:
        return sum(len(self.groups[cluster]) for cluster in clusters)

    def _distances(self, cluster: int) -> NDArray[np.float32]:
        """To every cluster; infinite to those that were merged into others."""
        return np.where(self._alive, 1 - self._means @ self._means[cluster], np.float32(np.inf))

    def _nearest(self, cluster: int, distances: NDArray[np.float32]) -> _Neighbour | None:
        """The first of the nearest, by distances that may be written to."""
        distances[cluster] = np.inf
        while True:
            other = int(distances.argmin())
            distance = float(distances[other])
            if distance > self._limits.possible:
                return None
            if self._frames[cluster].isdisjoint(self._frames[other]):
                return _Neighbour(distance, cluster, other, self._merges(cluster, other))
            distances[other] = np.inf


def clusters_of(tracks: Sequence[Track], limits: Limits) -> list[list[Track]]:
    """Groups of tracks, each group one person; no two tracks of a group share a frame.

    The same tracks in the same order give the same groups.

    :param tracks: in the order in which they begin; a group keeps it.
    """
    if not tracks:
        return []
    groups = [[track] for track in tracks]
    if len(tracks) > _TRACKS_AT_ONCE:
        groups = _merged_in_parts(groups, replace(limits, possible=limits.sure))  # what is near may be in another part
    groups = _merged(groups, limits)
    order = {id(track): number for number, track in enumerate(tracks)}
    return [sorted(group, key=lambda track: order[id(track)]) for group in groups]


def _merged_in_parts(groups: Sequence[list[Track]], limits: Limits) -> list[list[Track]]:
    parts = (groups[start : start + _TRACKS_AT_ONCE] for start in range(0, len(groups), _TRACKS_AT_ONCE))
    return [group for part in parts for group in _merged(part, limits)]


def _merged(groups: Sequence[list[Track]], limits: Limits) -> list[list[Track]]:
    """The groups after every merge that may be made, the nearest first."""
    clusters = _Clusters(groups, limits)
    waiting = clusters.first_neighbours()
    heapify(waiting)
    while waiting:
        pair = heappop(waiting)
        if not clusters.is_alive(pair.cluster):
            continue
        if clusters.is_current(pair):
            if pair.distance > limits.sure and not clusters.stands_out(pair):
                continue
            clusters.merge(pair.cluster, pair.other)
        # A merged cluster is never nearer to a third one than the nearer of its parts was. So an entry that is out of
        # date is too near at most, and it is enough to look again when it comes first.
        following = clusters.neighbour(pair.cluster)
        if following is not None:
            heappush(waiting, following)
    return [group for group in clusters.groups if group]
