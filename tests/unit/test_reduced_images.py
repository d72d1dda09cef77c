"""Decoding at a reduced scale: fewer pixels of the same photo, and everything else as at full size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from app.errors import BadRequest, TooLarge
from app.images import ImageLimits, decode_photo
from tests.unit.test_images import encoded, imread, photo, with_orientation

LARGE = ImageLimits(max_pixels=20_000_000, enough_side=400)


def large_photo(width: int = 3000, height: int = 2000) -> Image.Image:
    return photo().resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_jpeg_is_decoded_at_a_reduced_scale_that_leaves_enough(orientation: int) -> None:
    data = encoded(large_photo(), "JPEG", exif=with_orientation(orientation))
    upright = imread(data)

    reduced = decode_photo(data, LARGE)

    assert (reduced.height, reduced.width) == upright.shape[:2]
    assert max(reduced.pixels.shape) == 750  # a quarter; an eighth would be fewer than 400
    smaller = cv2.resize(upright, (reduced.pixels.shape[1], reduced.pixels.shape[0]), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.pixels.astype(int) - smaller).mean() < 3
    assert np.array_equal(reduced.whole(), upright)


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (encoded(large_photo(799, 600), "JPEG"), LARGE),
        (encoded(large_photo(), "PNG", compress_level=1), LARGE),
        (encoded(large_photo(), "JPEG"), ImageLimits(max_pixels=20_000_000)),
    ],
    ids=["nothing to spare", "no JPEG", "everything wanted"],
)
def test_other_photos_are_decoded_whole(data: bytes, limits: ImageLimits) -> None:
    decoded = decode_photo(data, limits)

    assert np.array_equal(decoded.pixels, imread(data))
    assert (decoded.height, decoded.width) == decoded.pixels.shape[:2]
    assert decoded.whole() is decoded.pixels


def test_a_reduced_decoding_has_the_limits_of_the_true_size_and_notices_a_cut() -> None:
    data = encoded(large_photo(), "JPEG")

    with pytest.raises(TooLarge):
        decode_photo(data, ImageLimits(max_pixels=1_000_000, enough_side=400))
    with pytest.raises(BadRequest, match="truncated"):
        decode_photo(data[: len(data) // 2], LARGE)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpegs_are_reduced_alike(mode: str) -> None:
    reduced = decode_photo(encoded(large_photo().convert(mode), "JPEG"), LARGE)

    assert reduced.pixels.shape == (500, 750, 3)
    assert (reduced.width, reduced.height) == (3000, 2000)


def test_the_first_picture_of_a_stereo_file_is_reduced_too() -> None:
    data = encoded(large_photo(), "MPO", save_all=True, append_images=[large_photo().rotate(180)])

    smaller = cv2.resize(imread(data), (750, 500), interpolation=cv2.INTER_AREA)
    assert np.abs(decode_photo(data, LARGE).pixels.astype(int) - smaller).mean() < 3
