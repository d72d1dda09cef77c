"""The demo's gallery: the same files every time, and none written twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.images import ImageLimits, decode_image
from scripts import demo_faces

LIMITS = ImageLimits(max_pixels=10_000_000)


def test_each_person_has_a_folder_with_three_different_images(tmp_path: Path) -> None:
    paths = demo_faces.write_gallery(tmp_path, persons=4)

    assert sorted(folder.name for folder in tmp_path.iterdir()) == [f"Person 00{n}" for n in (1, 2, 3, 4)]
    assert len({path.read_bytes() for path in paths}) == 12
    assert all(path.parent.parent == tmp_path for path in paths)


def test_a_second_start_writes_nothing(tmp_path: Path) -> None:
    paths = demo_faces.write_gallery(tmp_path, persons=2)
    before = [path.stat() for path in paths]

    assert demo_faces.write_gallery(tmp_path, persons=2) == paths
    assert [path.stat() for path in paths] == before


def test_the_same_gallery_is_written_everywhere(tmp_path: Path) -> None:
    here, there = (demo_faces.write_gallery(tmp_path / place, persons=3) for place in ("here", "there"))

    assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there]


def test_more_persons_than_there_are_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not 1000"):
        demo_faces.write_gallery(tmp_path, persons=1000)


def test_the_files_show_what_the_arrays_hold(tmp_path: Path) -> None:
    files = [decode_image(path.read_bytes(), LIMITS) for path in demo_faces.write_gallery(tmp_path, persons=2)]
    arrays = [photo for _, photo in demo_faces.gallery_photos(2)]

    assert all(np.array_equal(file, array) for file, array in zip(files, arrays, strict=True))


def test_a_probe_shows_a_person_of_the_gallery_in_a_photo_that_is_not_in_it() -> None:
    photo, name = demo_faces.known_probe(2)
    pixels = decode_image(photo, LIMITS)

    assert name == "Person 003"
    assert not any(np.array_equal(pixels, enrolled) for _, enrolled in demo_faces.gallery_photos(5))
    assert demo_faces.known_probe(2) == (photo, name)


def test_the_photo_of_several_holds_a_stranger_among_known_people() -> None:
    photo, names = demo_faces.several_faces()

    assert decode_image(photo, LIMITS).shape[1] > 3 * decode_image(photo, LIMITS).shape[0]
    assert len(names) == len(set(names)) == 4
    assert names.count(None) == 1
