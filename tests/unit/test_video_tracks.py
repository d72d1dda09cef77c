"""Tracks and clusters over made-up embeddings, where the truth is known exactly."""

from __future__ import annotations

import random
import weakref
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.domain import FaceBox
from app.services.video import clustering
from app.services.video.clustering import Limits, clusters_of
from app.services.video.records import EmbeddedFace, FaceQuality, SeenFace
from app.services.video.tracks import Track, Tracker, TrackRules, intersection_over_union, unit

LIMITS = Limits(sure=0.25, possible=0.3)
RULES = TrackRules(max_distance=0.3, max_gap_s=1.5)
ANNA, BORIS, CARLA = np.eye(8)[:3]
LEFT, MIDDLE, RIGHT = (FaceBox(x, 50, 80, 80) for x in (20, 200, 400))


def like(person: NDArray[np.float64], distance: float = 0.0) -> NDArray[np.float32]:
    """An embedding at this cosine distance from the person's."""
    cosine = 1 - distance
    return (cosine * person + np.sqrt(1 - cosine**2) * np.eye(8)[7]).astype(np.float32)


def face(
    at_s: float, embedding: NDArray[np.floating], box: FaceBox = MIDDLE, shot: int = 0, score: float = 0.8
) -> EmbeddedFace:
    return EmbeddedFace(SeenFace(at_s, shot, box, FaceQuality(1, 1, 1, 1, score), b""), embedding)


def track(frames: set[int], embedding: NDArray[np.floating], score: float = 0.8) -> Track:
    made = Track()
    for frame in sorted(frames):
        made.add(frame, face(frame / 2, embedding, score=score))
    return made


def test_a_face_that_stays_is_one_track() -> None:
    tracker = Tracker(RULES)
    for frame in range(4):
        tracker.add(frame, [face(frame / 2, like(ANNA, 0.1))])
    assert [len(track.faces) for track in tracker.finish()] == [4]


def test_two_who_change_places_keep_their_tracks() -> None:
    tracker = Tracker(RULES)
    tracker.add(0, [face(0.0, like(ANNA), LEFT), face(0.0, like(BORIS), RIGHT)])
    tracker.add(1, [face(0.5, like(BORIS), LEFT), face(0.5, like(ANNA), RIGHT)])
    assert [[seen.box for seen in found.faces] for found in tracker.finish()] == [[LEFT, RIGHT], [RIGHT, LEFT]]


def test_two_faces_of_one_frame_are_never_one_track_however_alike() -> None:
    tracker = Tracker(RULES)
    for frame in range(3):
        tracker.add(frame, [face(frame / 2, like(ANNA), LEFT), face(frame / 2, like(ANNA), RIGHT)])
    tracks = tracker.finish()
    assert [len(track.faces) for track in tracks] == [3, 3]
    assert all(len(track.frames) == len(track.faces) for track in tracks)


def test_a_poor_look_goes_on_at_the_same_place_and_not_elsewhere() -> None:
    slightly_off = like(ANNA, 0.33)
    stays, jumps = Tracker(RULES), Tracker(RULES)
    for tracker, box in ((stays, MIDDLE), (jumps, RIGHT)):
        tracker.add(0, [face(0.0, like(ANNA))])
        tracker.add(1, [face(0.5, slightly_off, box)])
    assert (len(stays.finish()), len(jumps.finish())) == (1, 2)


@pytest.mark.parametrize(("at_s", "shot"), [(2.0, 0), (0.5, 1)], ids=["out of sight", "a cut"])
def test_a_track_ends_when_its_face_is_out_of_sight_and_at_a_cut(at_s: float, shot: int) -> None:
    tracker = Tracker(RULES)
    tracker.add(0, [face(0.0, like(ANNA))])
    tracker.add(1, [face(at_s, like(ANNA), shot=shot)])
    assert len(tracker.finish()) == 2


def test_of_a_track_s_faces_no_more_than_one_embedding_is_kept() -> None:
    """Three hours of a crowd are half a million faces; two kilobytes of each were a gigabyte."""
    tracker = Tracker(RULES)
    seen = [face(frame / 2, like(ANNA, frame / 100)) for frame in range(4)]
    kept = [weakref.ref(found.embedding) for found in seen]
    for frame, found in enumerate(seen):
        tracker.add(frame, [found])
    del seen, found
    assert [len(track.faces) for track in tracker.finish()] == [4]
    assert [ref() is not None for ref in kept] == [False, False, False, True]


def test_who_comes_back_is_the_same_person() -> None:
    groups = clusters_of([track({1, 2}, like(ANNA)), track({3}, like(BORIS)), track({8, 9}, like(ANNA, 0.1))], LIMITS)
    assert [[min(each.frames) for each in group] for group in groups] == [[1, 8], [3]]


def test_two_in_one_frame_are_never_one_person_however_alike() -> None:
    twins = [track({1, 2, 3}, like(ANNA)), track({3, 4}, like(ANNA, 0.001))]
    assert len(clusters_of(twins, LIMITS)) == 2


def test_what_is_merged_inherits_beside_whom_it_was_seen() -> None:
    # The first and the third share no frame, but the second, which is nearest to the first, was seen beside the third.
    tracks = [track({1}, like(ANNA)), track({5}, like(ANNA, 0.01)), track({5}, like(ANNA, 0.05))]
    groups = clusters_of(tracks, LIMITS)
    assert [[tracks.index(each) for each in group] for group in groups] == [[0, 1], [2]]


def test_a_chain_of_likenesses_does_not_make_strangers_one() -> None:
    steps = np.linspace(0, np.pi / 2, 12)
    chain = [track({n}, np.cos(a) * ANNA + np.sin(a) * BORIS) for n, a in enumerate(steps)]
    groups = clusters_of(chain, Limits(0.1, 0.1))
    assert len(groups) > 1
    ends = [next(n for n, group in enumerate(groups) if chain[end] in group) for end in (0, -1)]
    assert ends[0] != ends[1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), at_once=st.sampled_from([7, 1000]))
def test_whatever_the_tracks_no_cluster_shows_anybody_twice_and_nothing_is_lost(seed: int, at_once: int) -> None:
    noise = np.random.default_rng(seed)
    tracks = [
        track(set(noise.integers(0, 60, 4).tolist()), unit(noise.normal(size=8) + 3 * np.eye(8)[noise.integers(3)]))
        for _ in range(40)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clustering, "_TRACKS_AT_ONCE", at_once)
        groups = clusters_of(tracks, LIMITS)
    assert sorted(id(each) for group in groups for each in group) == sorted(map(id, tracks))
    for group in groups:
        assert all(a.frames.isdisjoint(b.frames) for a, b in combinations(group, 2))


def test_a_long_video_in_parts_has_the_identities_of_one_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    order = random.Random(3)  # noqa: S311
    persons = [order.choice([ANNA, BORIS, CARLA]) for _ in range(90)]
    tracks = [track({n}, like(person, order.uniform(0, 0.1))) for n, person in enumerate(persons)]
    whole = clusters_of(tracks, LIMITS)
    monkeypatch.setattr(clustering, "_TRACKS_AT_ONCE", 10)
    assert clusters_of(tracks, LIMITS) == whole
    assert len(whole) == 3


def test_a_doubtful_likeness_counts_where_nobody_else_is_near_and_only_there() -> None:
    doubtful = [track({1}, ANNA), track({5}, like(ANNA, 0.28))]
    somebody, rival = track({9}, BORIS), track({12}, like(ANNA, 0.28) * [1, 0, 0, 0, 0, 0, 0, -1])
    assert len(clusters_of(doubtful, LIMITS)) == 2, "there is nobody to compare with"
    assert len(clusters_of([*doubtful, somebody], LIMITS)) == 2, "they are one, the other is somebody"
    assert len(clusters_of([*doubtful, rival], LIMITS)) == 3, "either could be the first"


def test_no_tracks_are_no_identities() -> None:
    assert clusters_of([], LIMITS) == []


def test_overlap_is_of_the_whole_that_two_boxes_cover() -> None:
    assert intersection_over_union(FaceBox(0, 0, 10, 10), FaceBox(5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert intersection_over_union(LEFT, RIGHT) == 0
