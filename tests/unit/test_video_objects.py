"""What is kept of videos: keys lead nowhere else, files are whole."""

import errno
import shutil
from pathlib import Path

import pytest

from app.adapters.local_objects import LocalObjects
from app.errors import BadRequest
from app.services.video.objects import CROPS, crop_key, crops_prefix

JOB = "0123456789abcdef"


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/.hidden", "a\x00", "a/b/", "-x", "a b", "c:\\x", "x" * 101]
)
def test_a_key_that_leads_elsewhere_is_refused(tmp_path: Path, key: str) -> None:
    objects = LocalObjects(tmp_path / "objects")
    for attempt in (
        lambda: objects.get(key),
        lambda: objects.put(key, b"x", "x/y"),
        lambda: objects.delete_prefix(key),
    ):
        with pytest.raises(BadRequest):
            attempt()
    assert not (tmp_path / "objects").exists()


def test_the_names_below_a_prefix_are_those_of_folders_each_once(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    assert objects.names(CROPS) == []
    for key in (crop_key(JOB, 0, 3), crop_key(JOB, -1, 0), crop_key("another", 0, 3)):
        objects.put(key, b"crop", "image/jpeg")
    assert sorted(objects.names(CROPS)) == sorted([JOB, "another"])


def test_a_folder_that_fills_while_it_is_emptied_is_emptied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, empty = LocalObjects(tmp_path), shutil.rmtree
    objects.put(crop_key(JOB, 0, 0), b"crop", "image/jpeg")
    came: list[Path] = []

    def refilled(path: Path) -> None:
        if not came:
            came.append(path)
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        empty(path)

    monkeypatch.setattr(shutil, "rmtree", refilled)
    objects.delete_prefix(crops_prefix(JOB))
    assert came
    assert objects.names(CROPS) == []


def test_an_object_is_had_back_replaced_and_removed_with_its_job(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    ours, outlier, theirs = crop_key(JOB, 0, 3), crop_key(JOB, -1, 0), crop_key("another", 0, 3)
    for key in (ours, outlier, theirs):
        objects.put(key, b"first", "image/jpeg")
    objects.put(ours, b"second", "image/jpeg")
    assert objects.get(ours) == b"second"
    objects.delete_prefix(crops_prefix(JOB))
    objects.delete_prefix(crops_prefix(JOB))
    assert [objects.get(key) for key in (ours, outlier, theirs)] == [None, None, b"first"]
