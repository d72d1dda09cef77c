"""Decoding: real encoded bytes go in; right pixels or the right error come out."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from app.errors import AppError, BadRequest, TooLarge, UnsupportedImage
from app.images import ImageLimits, decode_image

LIMITS = ImageLimits(max_pixels=1_000_000)
WIDTH, HEIGHT = 96, 64


def photo() -> Image.Image:
    """Colourful, smooth and different in every corner, so that no mirror or rotation looks like another."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(np.stack([x * 2, y * 3, x + y], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def heic(image: Image.Image) -> bytes:
    pillow_heif.register_heif_opener()
    return encoded(image, "HEIF", quality=90)


def imread(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What `cv2.imread` makes of the same bytes in a file: the pixels galleries were embedded from."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels, dtype=np.uint8)


def with_alpha(image: Image.Image, mode: str) -> Image.Image:
    faded = image.convert(mode)
    faded.putalpha(Image.linear_gradient("L").resize(image.size))
    return faded


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(side: int) -> bytes:
    """A few kilobytes that state, truthfully enough to be decoded, `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3 * side + 1))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def refused(data: bytes, limits: ImageLimits = LIMITS) -> AppError:
    with pytest.raises(AppError) as caught:
        decode_image(data, limits)
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        *(
            encoded(photo(), "JPEG", quality=quality, subsampling=sampling)
            for quality in (30, 75, 95)
            for sampling in (0, 1, 2)
        ),
        encoded(photo(), "JPEG", progressive=True),
        encoded(photo().convert("L"), "JPEG"),
        encoded(photo(), "PNG"),
        encoded(photo(), "WEBP", lossless=True),
        encoded(photo(), "WEBP", quality=80),
        encoded(photo(), "BMP"),
        encoded(photo(), "GIF"),
        encoded(photo(), "TIFF", compression="tiff_lzw"),
        encoded(photo(), "AVIF"),
        encoded(with_alpha(photo(), "RGBA"), "PNG"),
        encoded(with_alpha(photo(), "LA"), "PNG"),
        encoded(with_alpha(photo(), "RGBA"), "WEBP", lossless=True),
        encoded(photo().quantize(32), "PNG"),
        encoded(photo().quantize(32), "PNG", transparency=bytes(range(0, 256, 8))),
        encoded(photo().convert("1"), "PNG"),
        encoded(Image.fromarray(np.arange(0, 61440, 10, dtype=np.uint16).reshape(64, 96)), "PNG"),
        cv2.imencode(".png", np.asarray(photo()).astype(np.uint16) * 251)[1].tobytes(),
    ],
)
def test_pixels_are_those_of_cv2_imread_bit_for_bit(data: bytes) -> None:
    pixels = decode_image(data, LIMITS)

    assert np.array_equal(pixels, imread(data))
    assert (pixels.dtype, pixels.flags.c_contiguous, pixels.flags.writeable) == (np.uint8, True, True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_photo_stands_upright_in_every_exif_orientation(image_format: str, orientation: int) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encoded(photo(), image_format, exif=with_orientation(orientation), **options)

    assert np.array_equal(decode_image(data, LIMITS), imread(data))


def test_a_photo_of_many_strips_is_put_together_right() -> None:
    noise = np.random.default_rng(5).integers(0, 256, (1100, 2100, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "PNG", compress_level=1, exif=with_orientation(6))

    assert np.array_equal(decode_image(data, ImageLimits(max_pixels=3_000_000)), imread(data))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_heic_photo_is_read_upright(orientation: int) -> None:
    pillow_heif.register_heif_opener()
    data = encoded(photo(), "HEIF", quality=95, exif=with_orientation(orientation).tobytes())

    upright = imread(encoded(photo(), "PNG", exif=with_orientation(orientation)))
    assert np.abs(decode_image(data, LIMITS).astype(int) - upright).mean() < 4


def test_a_cmyk_jpeg_shows_its_colours_and_not_their_negative() -> None:
    pixels = decode_image(encoded(photo().convert("CMYK"), "JPEG", quality=95), LIMITS)

    assert np.abs(pixels.astype(int) - np.asarray(photo())[:, :, ::-1]).mean() < 4


def test_a_ycck_jpeg_shows_its_colours_too() -> None:
    # Adobe stores inks inverted, and Pillow inverts whatever it writes into a CMYK file.
    luma, blue, red = (
        Image.eval(band, lambda v: 255 - v) for band in ImageOps.invert(photo()).convert("YCbCr").split()
    )
    no_black = Image.new("L", photo().size, 0)
    data = bytearray(encoded(Image.merge("CMYK", (luma, blue, red, no_black)), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = 2  # the marker's transform: from CMYK to YCCK

    assert np.abs(decode_image(bytes(data), LIMITS).astype(int) - imread(bytes(data))).max() <= 1
    assert np.abs(decode_image(bytes(data), LIMITS).astype(int) - np.asarray(photo())[:, :, ::-1]).mean() < 4


def test_the_first_picture_of_a_cameras_stereo_file_is_the_photo() -> None:
    data = encoded(photo(), "MPO", save_all=True, append_images=[photo().rotate(180)], quality=95)

    assert np.array_equal(decode_image(data, LIMITS), imread(data))


def test_an_empty_upload_says_so() -> None:
    assert (refused(b"").error_code, refused(b"").status) == ("empty_file", 400)


@pytest.mark.parametrize(
    "data",
    [
        b"this is no photo, whatever its name says",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"BMW drivers write prose that begins with two treacherous letters",
        b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42",
        b"P6 4 4 255 " + bytes(48),
        b"\xff",
    ],
)
def test_what_is_not_a_photo_is_an_unsupported_type(data: bytes) -> None:
    error = refused(data)

    assert isinstance(error, UnsupportedImage)
    assert (error.error_code, error.status) == ("not_an_image", 415)


@pytest.mark.parametrize(
    "whole",
    [
        encoded(photo(), "JPEG"),
        encoded(photo(), "PNG"),
        encoded(photo(), "WEBP"),
        encoded(photo(), "BMP"),
        encoded(photo(), "GIF"),
        encoded(photo(), "TIFF"),
        encoded(photo(), "AVIF"),
        heic(photo()),
    ],
)
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_truncated_photo_is_corrupt_and_not_half_recognised(whole: bytes, share: float) -> None:
    error = refused(whole[: max(24, int(len(whole) * share))])

    assert isinstance(error, BadRequest)
    assert (error.error_code, error.status) == ("image_corrupt", 400)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_an_animation_or_a_stack_of_pages_is_refused(image_format: str) -> None:
    frames = [photo(), photo().rotate(90)]
    data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])

    assert (refused(data).error_code, refused(data).status) == ("animated_image", 415)


@pytest.mark.parametrize(
    "data",
    [
        png_bomb(50_000),
        encoded(Image.new("RGB", (1200, 1000)), "JPEG"),
        encoded(Image.new("RGB", (1200, 1000)), "WEBP"),
        encoded(Image.new("RGB", (1200, 1000)), "TIFF", compression="tiff_deflate"),
        heic(Image.new("RGB", (1200, 1000))),
    ],
)
def test_a_photo_over_the_pixel_limit_is_refused_by_its_header(data: bytes) -> None:
    error = refused(data)

    assert isinstance(error, TooLarge)
    assert (error.error_code, error.status) == ("image_too_large", 413)


def test_a_bomb_is_refused_although_its_pixels_could_not_be_decoded() -> None:
    without_pixels = png_bomb(50_000)[:100]

    assert refused(without_pixels).error_code == "image_too_large"


def test_a_limit_above_pillows_own_is_honoured() -> None:
    without_pixels = png_bomb(14_000)[:60]

    assert refused(without_pixels, ImageLimits(max_pixels=200_000_000)).error_code == "image_corrupt"


@pytest.mark.parametrize("size", [(1, 1), (4000, 1), (3, 900), (900, 17)])
def test_an_image_too_thin_for_a_face_is_refused(size: tuple[int, int]) -> None:
    assert refused(encoded(Image.new("RGB", size), "PNG")).error_code == "image_too_small"


def test_pixels_of_another_kind_than_a_photos_are_refused() -> None:
    depths = Image.fromarray(np.ones((64, 96), dtype=np.float32))

    assert (refused(encoded(depths, "TIFF")).error_code, refused(encoded(depths, "TIFF")).status) == (
        "unsupported_pixels",
        415,
    )


def test_damaged_exif_does_not_cost_the_photo() -> None:
    data = encoded(photo(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f" + bytes(range(64)))

    assert decode_image(data, LIMITS).shape == (HEIGHT, WIDTH, 3)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One of: flipped bits, a cut, a header overwritten with noise, a part repeated."""
    damaged = bytearray(data)
    kind = rng.integers(4)
    if kind == 0:
        for position in rng.integers(0, len(data), rng.integers(1, 9)):
            damaged[position] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del damaged[int(rng.integers(1, len(data))) :]
    elif kind == 2:
        start = int(rng.integers(4, 40))
        damaged[start : start + 4] = rng.bytes(4)
    else:
        start, end = sorted(int(p) for p in rng.integers(0, len(data), 2))
        damaged[start:start] = data[start:end]
    return bytes(damaged)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF"])
def test_no_damaged_photo_causes_anything_but_our_errors(image_format: str) -> None:
    rng = np.random.default_rng(sum(image_format.encode()))
    pillow_heif.register_heif_opener()
    whole = encoded(photo(), image_format)
    for _ in range(60):
        try:
            pixels = decode_image(mutated(whole, rng), LIMITS)
        except AppError as error:
            assert error.status in {400, 413, 415}
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
            assert pixels.flags.c_contiguous
