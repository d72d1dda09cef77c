"""Which files of a folder are images of its gallery."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.errors import AppError, BadRequest, TooLarge
from app.services.ingest.images import LARGEST_FILE, FoundImage, find_images, is_storable_name, read_content

PHOTO = bytes(cv2.imencode(".png", np.zeros((32, 32, 3), dtype=np.uint8))[1])


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PHOTO)


def test_images_are_found_by_extension_or_content_and_hidden_files_are_not(tmp_path: Path) -> None:
    put(tmp_path, "Ana/1.JPG", "Ana/deep/2.heic", "flat.webp", "no-extension", ".hidden.jpg", ".cache/3.jpg")
    put(tmp_path, "ds_model_dlib.pkl")
    (tmp_path / "notes.txt").write_text("no image")
    assert [image.path for image in find_images(tmp_path)] == [
        "Ana/1.JPG",
        "Ana/deep/2.heic",
        "flat.webp",
        "no-extension",
    ]


def test_a_link_to_a_folder_is_not_followed_so_that_a_loop_ends(tmp_path: Path) -> None:
    put(tmp_path, "Ana/1.jpg")
    (tmp_path / "Ana" / "loop").symlink_to(tmp_path)
    assert [image.path for image in find_images(tmp_path)] == ["Ana/1.jpg"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="nowhere"):
        find_images(tmp_path / "nowhere")


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    put(tmp_path, "Ana/1.png", "Ana/2.png")
    one, two = (read_content(tmp_path, image) for image in find_images(tmp_path))
    assert one == two
    assert one.photo == PHOTO


def test_a_file_that_vanished_or_cannot_be_a_photo_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="No such file"):
        read_content(tmp_path, FoundImage("Ana/1.jpg", 1, 1))
    with pytest.raises(TooLarge, match="256 MiB"):
        read_content(tmp_path, FoundImage("Ana/1.jpg", LARGEST_FILE + 1, 1))


def test_a_name_that_postgres_cannot_hold_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"An\xe1.jpg")
    put(tmp_path, name)
    (image,) = find_images(tmp_path)
    assert not is_storable_name(image.path)
    with pytest.raises(AppError, match="rename it"):
        read_content(tmp_path, image)
