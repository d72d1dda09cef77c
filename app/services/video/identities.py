"""What is said of each person of a video: faces, appearances, one embedding, and the number by which it is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from app.services.video.crops import best_crops
from app.services.video.records import OUTLIERS, Appearance, Identity, SeenFace
from app.services.video.tracks import Track, unit


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """What becomes an identity, and what is kept of it.

    :param min_quality: a face that was seen once and resembles nobody is an outlier below this score.
    :param max_gap_s: an appearance goes on over so many seconds in which the face is not seen.
    :param max_crops: so many of the best faces keep their crop.
    """

    min_quality: float
    max_gap_s: float
    max_crops: int


def identities_of(groups: Iterable[Sequence[Track]], rules: IdentityRules) -> tuple[Identity, ...]:
    """One identity per group, numbered from 0 by falling number of faces, equal ones by first appearance.

    :param groups: tracks of one person each.
    """
    persons: list[Sequence[Track]] = []
    outliers: list[Sequence[Track]] = []
    for group in groups:
        (outliers if _is_outlier(group, rules) else persons).append(group)
    persons.sort(key=lambda group: (-_face_count(group), *_place(_faces(group)[0])))
    identities = [_identity(number, group, rules) for number, group in enumerate(persons)]
    if outliers:
        identities.append(_identity(OUTLIERS, [track for group in outliers for track in group], rules))
    return tuple(identities)


def appearances_of(times_s: Sequence[float], max_gap_s: float) -> tuple[Appearance, ...]:
    """Stretches in which no two neighbouring times are further apart than `max_gap_s`.

    :param times_s: rising.
    """
    breaks = np.flatnonzero(np.diff(times_s) > max_gap_s) + 1
    return tuple(Appearance(float(part[0]), float(part[-1])) for part in np.split(np.asarray(times_s), breaks))


def _is_outlier(group: Sequence[Track], rules: IdentityRules) -> bool:
    return _face_count(group) == 1 and group[0].last.quality.score < rules.min_quality


def _face_count(group: Sequence[Track]) -> int:
    return sum(len(track.faces) for track in group)


def _identity(cluster_id: int, group: Sequence[Track], rules: IdentityRules) -> Identity:
    faces = _faces(group)
    embedding = None if cluster_id == OUTLIERS else unit(np.sum([track.total for track in group], axis=0))
    return Identity(
        cluster_id=cluster_id,
        embedding=embedding,
        faces=best_crops(faces, rules.max_crops),
        appearances=appearances_of([face.at_s for face in faces], rules.max_gap_s),
    )


def _faces(group: Sequence[Track]) -> list[SeenFace]:
    return sorted((face for track in group for face in track.faces), key=_place)


def _place(face: SeenFace) -> tuple[float, int, int]:
    return face.at_s, face.box.x, face.box.y
