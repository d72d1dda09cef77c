"""Videos of real faces through the real engine, held to the truth about whom they show, over all pairs of faces."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.bootstrap import Container
from app.bootstrap_video import video_analyser
from app.domain import ImageBgr
from app.services.video.analysis import VideoAnalyser
from app.services.video.records import OUTLIERS, VideoAnalysis
from config import Settings
from tests.faces import labelled_photos
from tests.videos import (
    HEIGHT,
    Actor,
    Film,
    Photos,
    Scene,
    agreement,
    demo_photos,
    lay_on_its_side,
    write_film,
    write_video,
)

ANNA, BORIS, CARLA, DORA, EMIL, FILIP = (f"Person {number:03d}" for number in range(1, 7))
LEFT, RIGHT = (0.25, 0.25), (0.75, 0.72)

pytestmark = pytest.mark.slow


class Silent:
    def progress(self, frames_done: int, frames_total: int | None, faces: int) -> None:
        pass


@pytest.fixture(scope="module", params=["fast", "deepface"])
def pipeline(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def make_analyser(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VideoAnalyser]:
    """By the name of the pipeline; Dlib with the dlib detector, whose weights come with a package."""
    storage = tmp_path_factory.mktemp("storage")

    def make(pipeline: str) -> VideoAnalyser:
        settings = {"face_model": "Dlib", "face_detector": "dlib", "face_pipeline": pipeline, "storage_dir": storage}
        return video_analyser(Container(Settings.model_validate({**settings})))

    return make


@pytest.fixture(scope="module")
def analyser(make_analyser: Callable[[str], VideoAnalyser]) -> VideoAnalyser:
    return make_analyser("fast")


@pytest.fixture(scope="module")
def photos() -> Photos:
    return demo_photos(6)


def assert_true(film: Film, analysis: VideoAnalysis, least_faces: int) -> None:
    """Precision 1, recall at least 0.95, and as many faces found that it says something."""
    found = agreement(film, analysis)
    assert found.precision == 1.0, found
    assert found.recall >= 0.95, found
    assert found.faces >= least_faces, found


def test_six_persons_with_cuts_re_entries_zoom_blur_and_empty_stretches(
    make_analyser: Callable[[str], VideoAnalyser], pipeline: str, photos: Photos, tmp_path: Path
) -> None:
    scenes = (
        Scene(3, (Actor(ANNA, x=(0.3, 0.7)),)),
        Scene(2.5, (Actor(BORIS, x=LEFT), Actor(CARLA, x=RIGHT)), shade=90),
        Scene(1.5, shade=40),
        Scene(2.5, (Actor(ANNA, 1, zoom=(0.6, 1.4)),), shade=160),
        Scene(2, (Actor(DORA, 2, blur=1.5),), shade=100),
        Scene(2.5, (Actor(BORIS, 1, x=LEFT), Actor(ANNA, 2, x=RIGHT))),
        Scene(2.5, (Actor(EMIL, turn=(-8, 8)), Actor(FILIP, 1, x=(0.2, 0.2))), shade=80),
        Scene(2, (Actor(CARLA, 2, gain=0.7),), shade=30),
        Scene(2.5, (Actor(DORA, x=(0.8, 0.2)),), shade=200),
        Scene(1.5, (Actor(FILIP, zoom=(0.5, 0.5)),)),
    )
    film = Film(photos, scenes)
    found = make_analyser(pipeline).analyse(write_film(tmp_path / "film.mp4", film), Silent())
    assert_true(film, found, least_faces=50)
    persons = {
        each.cluster_id: {film.person_in(face.at_s, face.box) for face in each.faces} for each in found.identities
    }
    assert [persons[number] for number in range(6)] == [{name} for name in whom_most(film, found)]
    assert persons[0] == {ANNA}, "who is seen most comes first"
    assert len(found.identities[0].appearances) == 3, "who comes back is one identity, seen in three stretches"


def whom_most(film: Film, analysis: VideoAnalysis) -> list[str | None]:
    """Whom each identity shows, in their order; each person once."""
    best = [each.best_face for each in analysis.identities if each.cluster_id != OUTLIERS]
    names = [film.person_in(face.at_s, face.box) for face in best]
    assert len(set(names)) == len(names), "a person is two identities"
    assert all(a.face_count >= b.face_count for a, b in pairwise(analysis.identities) if b.cluster_id != OUTLIERS)
    return names


def test_an_uneven_frame_rate_changes_nothing(analyser: VideoAnalyser, photos: Photos, tmp_path: Path) -> None:
    scenes = (Scene(2, (Actor(ANNA),)), Scene(3, (Actor(BORIS, x=(0.4, 0.6)),), shade=60), Scene(2, (Actor(ANNA, 1),)))
    film = Film(photos, scenes, times=lambda n: n / 25 if n < 50 else 2 + (n - 50) / 6)
    found = analyser.analyse(write_film(tmp_path / "film.mp4", film), Silent())
    assert_true(film, found, least_faces=10)
    boris = found.identities[1].appearances
    assert [(round(each.start_s), round(each.end_s)) for each in boris] == [(2, 5)]


def test_faces_of_a_phone_held_upright_are_found(analyser: VideoAnalyser, photos: Photos, tmp_path: Path) -> None:
    film = Film(photos, (Scene(1.5, (Actor(ANNA, x=LEFT),)), Scene(1.5, (Actor(BORIS, x=RIGHT),), shade=60)))
    lying = ((at_s, np.rot90(picture)) for at_s, picture in film.frames())
    path = write_video(tmp_path / "phone.mp4", lying)
    lay_on_its_side(path)
    found = analyser.analyse(path, Silent())
    assert found.facts.rotation == 90
    assert found.facts.height == HEIGHT
    assert_true(film, found, least_faces=5)


def test_of_a_video_that_breaks_off_the_first_part_is_known(
    analyser: VideoAnalyser, photos: Photos, tmp_path: Path
) -> None:
    film = Film(photos, (Scene(2.5, (Actor(ANNA),)), Scene(2.5, (Actor(BORIS, x=(0.2, 0.8)),), shade=60)))
    path = write_film(tmp_path / "film.ts", film, "mpeg2video")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    found = analyser.analyse(path, Silent())
    assert_true(film, found, least_faces=5)
    assert whom_most(film, found)[0] == ANNA


def test_the_same_video_gives_the_same_identities(analyser: VideoAnalyser, photos: Photos, tmp_path: Path) -> None:
    scenes = (Scene(1.5, (Actor(ANNA, x=LEFT), Actor(BORIS, x=RIGHT))), Scene(1, (Actor(ANNA, 1),), shade=50))
    path = write_film(tmp_path / "film.mp4", Film(photos, scenes))
    first, second = (analyser.analyse(path, Silent()) for _ in range(2))
    for one, other in zip(first.identities, second.identities, strict=True):
        assert one.cluster_id == other.cluster_id
        assert [(face.at_s, face.box, face.quality, face.crop_jpeg) for face in one.faces] == [
            (face.at_s, face.box, face.quality, face.crop_jpeg) for face in other.faces
        ]
        assert one.embedding is not None
        assert np.array_equal(one.embedding, other.embedding)  # type: ignore[arg-type]


def test_a_video_without_anybody_has_no_identities(analyser: VideoAnalyser, tmp_path: Path) -> None:
    found = analyser.analyse(write_film(tmp_path / "film.mp4", Film({}, (Scene(2),))), Silent())
    assert found.identities == ()
    assert found.frames >= 4


def test_real_photos_of_few_persons_are_told_apart(analyser: VideoAnalyser, tmp_path: Path) -> None:
    people = real_photos()
    film = Film(people, tuple(scene for round_ in (0, 1) for scene in scenes_of(people, round_)))
    found = analyser.analyse(write_film(tmp_path / "film.mp4", film), Silent())
    assert_true(film, found, least_faces=2 * len(people))


def real_photos() -> dict[str, list[ImageBgr]]:
    """The labelled photos by person (the folder of each says whom it shows), as high as a frame."""
    people: dict[str, list[ImageBgr]] = {}
    for name, photo in labelled_photos().photos.items():
        scale = HEIGHT / max(photo.shape[:2])
        sized = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        people.setdefault(re.split(r"[/\\]", name)[0], []).append(np.asarray(sized, dtype=np.uint8))
    return people


def scenes_of(people: Photos, round_: int) -> list[Scene]:
    """One of each person; in the second round by another photo, where there is one, and darker."""
    actors = [Actor(person, min(round_, len(photos) - 1), x=(0.45, 0.55)) for person, photos in people.items()]
    return [Scene(1.5, (replace(actor, gain=1 - 0.2 * round_),), shade=60 + 90 * round_) for actor in actors]
