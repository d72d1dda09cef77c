"""What the console is made of beside its pages."""

from __future__ import annotations

import stat
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.adapters.gallery_files import GalleryFiles
from app.console.secret_key import kept_secret_key
from app.console.sign_in_limit import SignInLimit, TooManySignIns
from app.domain import FaceBox
from app.errors import NotFound, StoreUnavailable
from app.images import encode_jpeg
from app.services.people.face_thumbnails import cut_out
from app.services.people.person_twins import closest_pairs


def test_all_workers_sign_with_the_same_key_which_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "storage" / "console.key"
    key = kept_secret_key(path)
    assert len(key) >= 64
    assert kept_secret_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_cannot_be_kept_names_the_setting_that_helps(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="CONSOLE_SECRET_KEY"):
        kept_secret_key(tmp_path / "file" / "console.key")


def test_an_address_that_fails_too_often_waits_until_the_failures_are_old_and_others_do_not() -> None:
    now = 100.0
    limit = SignInLimit(failures=2, within_s=60.0, clock=lambda: now)
    for _ in range(2):
        limit.require("10.0.0.1")
        limit.failed("10.0.0.1")
    with pytest.raises(TooManySignIns, match="60 seconds"):
        limit.require("10.0.0.1")
    limit.require("10.0.0.2")
    now += 60.0
    limit.require("10.0.0.1")


@pytest.mark.parametrize("persons", [2, 3, 700])
def test_close_pairs_are_found_across_blocks_closest_first_and_never_a_person_with_themselves(persons: int) -> None:
    faces = np.random.default_rng(1).normal(size=(persons, 64)).astype(np.float32)
    faces[-1] = faces[0] + 0.01 * faces[1]
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    templates = [(10 + i, face) for i, face in enumerate(faces)]
    pairs = closest_pairs(templates, 0.6, 200)
    expected = 1.0 - faces.astype(np.float64) @ faces.T.astype(np.float64)
    by_hand = {(10 + a, 10 + b) for a, b in zip(*np.nonzero(np.triu(expected <= 0.6, 1)), strict=True)}
    assert {pair[:2] for pair in pairs} <= by_hand
    assert len(pairs) == min(200, len(by_hand))
    assert pairs[0][:2] == (10, 10 + persons - 1)
    assert [pair[2] for pair in pairs] == sorted(pair[2] for pair in pairs)


def test_without_persons_there_are_no_pairs() -> None:
    assert closest_pairs([], 0.5, 200) == []


def test_a_face_at_the_edge_is_cut_out_as_far_as_the_photo_reaches() -> None:
    photo = np.zeros((100, 80, 3), dtype=np.uint8)
    assert cut_out(photo, FaceBox(0, 0, 20, 20)).shape == (27, 27, 3)
    assert cut_out(photo, FaceBox(30, 40, 20, 20)).shape == (34, 34, 3)
    assert cut_out(photo, FaceBox(500, 500, 20, 20)).size == 0


def test_a_small_picture_keeps_its_colours_and_proportions() -> None:
    blue = np.zeros((200, 400, 3), dtype=np.uint8)
    blue[:, :, 0] = 250
    picture = Image.open(BytesIO(encode_jpeg(blue, 100)))
    assert picture.size == (100, 50)
    red, green, blue_value = picture.getpixel((50, 25))  # type: ignore[misc]
    assert (red < 20, green < 20, blue_value > 230) == (True, True, True)


def test_only_photos_below_the_domains_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "galleries" / "demo" / "Ana").mkdir(parents=True)
    (tmp_path / "galleries" / "demo" / "Ana" / "1.jpg").write_bytes(b"photo")
    (tmp_path / "galleries" / "secret.jpg").write_bytes(b"secret")
    files = GalleryFiles(tmp_path / "galleries")
    assert files.read("demo", "Ana/1.jpg") == b"photo"
    for image in ("../secret.jpg", str(tmp_path / "galleries" / "secret.jpg"), "Ana/2.jpg", "Ana"):
        with pytest.raises(NotFound, match="not in the gallery's folder"):
            files.read("demo", image)
