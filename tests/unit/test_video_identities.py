"""Quality, crops and what is said of an identity, without a model and without a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

from app.domain import Face, FaceBox, ImageBgr
from app.errors import AppError
from app.services.video import crops as crops_module
from app.services.video.analysis import AnalysisOptions, VideoAnalyser
from app.services.video.identities import appearances_of
from app.services.video.quality import face_quality
from app.services.video.records import OUTLIERS, Appearance, Frame, VideoFacts
from tests.faces import known_face

OPTIONS = AnalysisOptions(sample_fps=2, max_distance=0.3, min_face_px=20, max_crops=3)
NOISE = np.random.default_rng(7).integers(0, 255, (360, 640, 3), dtype=np.uint8)
SHARP, FLAT = FaceBox(40, 40, 120, 120), FaceBox(400, 100, 120, 120)


class Silent:
    def progress(self, frames_done: int, frames_total: int | None, faces: int) -> None:
        self.last = (frames_done, frames_total, faces)


class Pictures:
    """A video of so many frames, half a second apart; its faces are said by `faces_in`."""

    def __init__(self, count: int, facts: VideoFacts | None = None) -> None:
        self.count = count
        self.facts = facts or VideoFacts(count / 2, 640, 360, 2.0, count, "h264")
        self.closed = False

    def probe(self, path: Path) -> VideoFacts:
        return self.facts

    def frames(self, path: Path) -> Iterator[Frame]:
        try:
            for number in range(self.count):
                pixels = NOISE.copy()
                pixels[FLAT.y : FLAT.y + FLAT.h, FLAT.x : FLAT.x + FLAT.w] = 128
                pixels[0, 0, 0] = number
                yield Frame(number + 1, number / 2, 0, pixels)
        finally:
            self.closed = True


def person(number: int, box: FaceBox = SHARP) -> Face:
    return Face(box, np.eye(8)[number] * 3.0, 0.99)


def analyser(pictures: Pictures, faces_in: dict[int, list[Face]], options: AnalysisOptions = OPTIONS) -> VideoAnalyser:
    return VideoAnalyser(lambda pixels: faces_in.get(int(pixels[0, 0, 0]), []), pictures, options)  # type: ignore[arg-type]


def test_a_face_is_of_less_quality_when_it_is_blurred_dark_turned_or_small() -> None:
    photo = known_face()
    box = FaceBox(45, 45, 150, 150)
    good = face_quality(photo, box)
    blurred = face_quality(cast(ImageBgr, cv2.GaussianBlur(photo, (0, 0), 3)), box)
    dark = face_quality(cast(ImageBgr, cv2.convertScaleAbs(photo, alpha=0.3)), box)
    small = face_quality(cast(ImageBgr, cv2.resize(photo, None, fx=0.4, fy=0.4)), FaceBox(18, 18, 60, 60))
    half = face_quality(photo, FaceBox(95, 45, 100, 150))
    assert blurred.sharpness < good.sharpness
    assert dark.brightness < good.brightness
    assert small.size < good.size
    assert half.pose < good.pose
    assert max(blurred.score, dark.score, small.score) < good.score
    for quality in (good, blurred, dark, small, half):
        assert all(0 <= part <= 1 for part in (quality.size, quality.sharpness, quality.pose, quality.score))


def test_an_even_patch_has_no_sharpness_and_does_not_fail() -> None:
    assert face_quality(np.full((50, 50, 3), 127, np.uint8), FaceBox(0, 0, 50, 50)).score == 0


def test_identities_are_numbered_by_how_often_they_are_seen() -> None:
    faces = {0: [person(2)], 1: [person(1)], 2: [person(1)], 5: [person(0)], 6: [person(0)], 7: [person(0)]}
    found = analyser(Pictures(8), faces).analyse(Path("film"), Silent())
    assert [(identity.cluster_id, identity.face_count) for identity in found.identities] == [(0, 3), (1, 2), (2, 1)]
    assert [identity.appearances for identity in found.identities] == [
        (Appearance(2.5, 3.5),),
        (Appearance(0.5, 1.0),),
        (Appearance(0.0, 0.0),),
    ]
    assert all(np.linalg.norm(identity.embedding) == pytest.approx(1) for identity in found.identities)  # type: ignore[arg-type]


def test_a_poor_face_seen_once_is_an_outlier_and_has_no_embedding() -> None:
    faces = {0: [person(0)], 1: [person(0), person(1, FLAT)], 2: [person(0)]}
    found = analyser(Pictures(3), faces).analyse(Path("film"), Silent())
    assert [identity.cluster_id for identity in found.identities] == [0, OUTLIERS]
    assert found.identities[1].embedding is None
    assert found.identities[1].face_count == 1


def test_only_the_best_faces_keep_a_crop_and_each_shows_the_face_with_room_around_it() -> None:
    faces = {number: [person(0)] for number in range(9)} | {9: [person(0, FLAT)]}
    (identity,) = analyser(Pictures(10), faces).analyse(Path("film"), Silent()).identities
    kept = [face for face in identity.faces if face.crop_jpeg]
    assert len(kept) == OPTIONS.max_crops
    assert identity.best_face.crop_jpeg
    assert FLAT not in [face.box for face in kept]
    crop = cv2.imdecode(np.frombuffer(identity.best_face.crop_jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert crop is not None
    assert crop.shape == (202, 202, 3)


def test_when_crops_fill_the_memory_further_tracks_keep_their_best_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops_module, "_AMPLE_BYTES", 1)
    faces = {number: [person(0)] for number in range(6)}
    (identity,) = analyser(Pictures(6), faces).analyse(Path("film"), Silent()).identities
    assert sum(bool(face.crop_jpeg) for face in identity.faces) == 1


def test_faces_under_the_size_limit_are_passed_over() -> None:
    found = analyser(Pictures(1), {0: [person(0, FaceBox(0, 0, 100, 19))]}).analyse(Path("film"), Silent())
    assert found.identities == ()


def test_progress_names_the_containers_frames_and_what_it_raises_ends_the_reading() -> None:
    class Stop(Exception):
        pass

    class Stopping(Silent):
        def progress(self, frames_done: int, frames_total: int | None, faces: int) -> None:
            super().progress(frames_done, frames_total, faces)
            if frames_done == 2:
                raise Stop

    pictures, watch = Pictures(5), Stopping()
    with pytest.raises(Stop):
        analyser(pictures, {0: [person(0)]}).analyse(Path("film"), watch)
    assert watch.last == (2, 5, 1)
    assert pictures.closed


def test_a_length_that_the_container_does_not_say_is_what_was_seen() -> None:
    watch = Silent()
    found = analyser(Pictures(5, VideoFacts(0.0, 640, 360, 0.0, 0, "vp80")), {}).analyse(Path("film"), watch)
    assert (found.facts.duration_s, found.facts.frames, found.frames) == (2.0, 5, 5)
    assert watch.last == (5, None, 0)


@pytest.mark.parametrize(("failing", "is_lost"), [(3, False), (30, True)])
def test_a_few_frames_that_the_engine_fails_on_do_not_lose_the_video(failing: int, is_lost: bool) -> None:
    def embed(pixels: ImageBgr) -> list[Face]:
        if int(pixels[0, 0, 0]) < failing:
            raise AppError("The recognition engine failed on this photo.", code="engine_failed")
        return [person(0)]

    subject = VideoAnalyser(embed, Pictures(40), OPTIONS)  # type: ignore[arg-type]
    if is_lost:
        with pytest.raises(AppError, match="engine failed"):
            subject.analyse(Path("film"), Silent())
    else:
        assert subject.analyse(Path("film"), Silent()).identities[0].face_count == 37


def test_an_appearance_goes_on_over_a_short_gap() -> None:
    assert appearances_of([0.0, 0.5, 1.5, 4.0], 1.0) == (Appearance(0.0, 1.5), Appearance(4.0, 4.0))
