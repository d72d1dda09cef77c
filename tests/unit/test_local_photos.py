"""The folder of profiles' photos gives out what lies in it and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.adapters.local_photos import LocalPhotos
from app.errors import AppError, BadRequest

KEY = "profile_images/a.jpg"


@pytest.fixture
def photos(tmp_path: Path) -> LocalPhotos:
    return LocalPhotos(tmp_path / "profiles", max_bytes=10)


@pytest.mark.parametrize("key", [KEY, "profile_images/b.webp", "profile_images/name with blank.jpg"])
def test_what_was_put_is_given_out_and_counted(photos: LocalPhotos, key: str) -> None:
    photos.put(key, b"photo", "image/jpeg")
    assert photos.photo(key, 1.0) == b"photo"
    assert photos.exists(key)
    assert photos.count() == 1


def test_one_that_is_not_there_or_too_large_is_none(photos: LocalPhotos) -> None:
    photos.put(KEY, b"more than ten", "image/jpeg")
    assert photos.photo(KEY, 1.0) is None
    assert photos.photo("profile_images/none.jpg", 1.0) is None
    assert not photos.exists("profile_images/none.jpg")


@pytest.mark.parametrize(
    "key",
    ["/etc/passwd", "../secret.jpg", "profile_images/../../secret.jpg", "profile_images/a\0.jpg", "", "c:\\secret.jpg"],
)
def test_a_key_that_leads_elsewhere_is_neither_read_nor_written(photos: LocalPhotos, tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    assert photos.photo(key, 1.0) is None
    assert not photos.exists(key)
    with pytest.raises(BadRequest):
        photos.put(key, b"photo", "image/jpeg")


def test_a_link_out_of_the_folder_is_not_followed(photos: LocalPhotos, tmp_path: Path) -> None:
    photos.put(KEY, b"photo", "image/jpeg")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    folder = tmp_path / "profiles" / "profile_images"
    (folder / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "near.jpg").symlink_to(folder / "a.jpg")
    assert photos.photo("profile_images/out.jpg", 1.0) is None
    assert photos.photo("profile_images/near.jpg", 1.0) == b"photo"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_failure_of_the_store(photos: LocalPhotos, tmp_path: Path) -> None:
    photos.put(KEY, b"photo", "image/jpeg")
    (tmp_path / "profiles" / KEY).chmod(0)
    with pytest.raises(AppError, match="cannot be used"):
        photos.photo(KEY, 1.0)
