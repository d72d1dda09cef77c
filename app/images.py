"""Uploads to pixels: bytes of a photo in, an upright BGR array out, or an error that names what is wrong with them.

Pillow is the only decoder. Galleries were embedded through `cv2.imread`, and for the formats that both read Pillow
gives the same pixels, bit for bit (a test holds it), alpha dropped and 16 bits cut to their high byte included.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.domain import ImageBgr, Photo
from app.errors import BadRequest, TooLarge, UnsupportedImage

SNIFFED_BYTES = 256  # of a file, enough to tell its format

_STRIP_PIXELS = 1 << 20  # converted at a time, so that a photo is held once by Pillow and once by us, never thrice
_JPEG_SCALES = (8, 4, 2)  # what libjpeg divides the sides by while it decodes, at a fraction of the time
_ORIENTATION_TAG = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})

# What Pillow's plugins were seen to raise on broken files, beside the OSError and SyntaxError that they document.
_DECODER_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    BufferError,
    RuntimeError,
    struct.error,
    zlib.error,
)

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_EXTENSIONS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "HEIF": ".heic",
    "AVIF": ".avif",
}
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})

# Burst shots and stereo pairs: their first (primary) picture is the photo. Elsewhere several frames are an animation.
_FIRST_FRAME_IS_THE_PHOTO = frozenset({"MPO", "HEIF"})
_CONVERTIBLE_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})

# A view of the upright array in which the stored (EXIF-oriented) rows can be written without another copy.
_STORED_VIEW: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Which photos are decoded at all, by the size that their header states, and how far.

    :param max_pixels: most pixels, width times height.
    :param min_side: fewest pixels on either side.
    :param max_aspect: largest ratio of the long side to the short one.
    :param enough_side: `decode_photo` may leave out detail beyond so many pixels of the long side; 0: never.
    """

    max_pixels: int
    min_side: int = 16
    max_aspect: int = 50
    enough_side: int = 0


def is_image(head: bytes) -> bool:
    """Whether a file is of a format that `decode_image` reads.

    :param head: the file's first SNIFFED_BYTES.
    """
    return _sniff(head) is not None


def decode_image(data: bytes, limits: ImageLimits) -> ImageBgr:
    """Decode a photo (JPEG, PNG, WebP, HEIC, AVIF, BMP, TIFF or a still GIF) at its full size, by its content.

    :param data: the file's bytes.
    :return: (H, W, 3) uint8, BGR, C-contiguous, upright by EXIF; transparency and colour profiles are ignored.
    :raises BadRequest: `empty_file`, `image_corrupt` (truncated or damaged), `image_too_small`.
    :raises UnsupportedImage: `not_an_image`, `animated_image`, `unsupported_pixels`.
    :raises TooLarge: `image_too_large`, known from the header before any pixel is decoded.
    """
    return _decoded(data, limits, enough_side=0).pixels


def decode_photo(data: bytes, limits: ImageLimits) -> Photo:
    """Decode a photo as `decode_image` does, a JPEG at the smallest scale that leaves it `limits.enough_side`.

    The limits hold for the size that the header states, and the errors are those of `decode_image`.
    """
    return _decoded(data, limits, limits.enough_side)


def image_extension(data: bytes) -> str:
    """How the name of a file with this content ends, dot included; empty for what `decode_image` does not read."""
    return _EXTENSIONS.get(_sniff(data) or "", "")


def encode_jpeg(image: ImageBgr, max_side: int) -> bytes:
    """A JPEG of the BGR image, reduced to `max_side` pixels on its long side where it is larger."""
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    picture.thumbnail((max_side, max_side))
    encoded = BytesIO()
    picture.save(encoded, "JPEG", quality=88)
    return encoded.getvalue()


def _decoded(data: bytes, limits: ImageLimits, enough_side: int) -> Photo:
    if not data:
        raise BadRequest("The uploaded file is empty.", code="empty_file")
    image_format = _sniff(data)
    if image_format is None:
        raise UnsupportedImage("The file is not an image this service reads; send a JPEG, PNG, WebP or HEIC photo.")
    with _faults_translated(), _pillow_is_quiet():
        pixels, original = _decode(data, image_format, limits, enough_side)
    if original is None:
        return Photo.of(pixels)
    return Photo(pixels, *original, whole=partial(decode_image, data, limits))


def _decode(
    data: bytes, image_format: str, limits: ImageLimits, enough_side: int
) -> tuple[ImageBgr, tuple[int, int] | None]:
    """The upright pixels and, where they are fewer than the upright original's, its width and height."""
    if image_format == "HEIF":
        _register_heif()
    # Some plugins allocate the canvas while they open a file: Pillow's own guard has to stand before ours.
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    with Image.open(BytesIO(data), formats=(image_format,)) as image:
        _check_size(image.size, limits)
        _refuse_animation(image)
        stated = image.size
        reduced = _reduce_while_decoding(image, enough_side)
        image.load()
        _check_size(image.size, limits)  # HEIC and TIFF may state another size once they are decoded
        pixels = _upright_bgr(image)
        if not reduced:
            return pixels, None
        return pixels, (stated[::-1] if _orientation(image) in _SIDEWAYS else stated)


def _reduce_while_decoding(image: Image.Image, enough_side: int) -> bool:
    """Have libjpeg decode at the smallest scale that leaves the long side enough; whether there is one."""
    width, height = image.size
    scale = next((scale for scale in _JPEG_SCALES if enough_side and max(width, height) >= scale * enough_side), None)
    # Other formats' plugins have a `draft` that does nothing.
    return scale is not None and image.draft(None, (width // scale, height // scale)) is not None


def _sniff(data: bytes) -> str | None:
    """Pillow's name of the format, by the file's first bytes; None for anything this service does not read."""
    for magic, image_format in _MAGIC:
        if data.startswith(magic):
            return image_format
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    return _sniff_iso_media(data) if data[4:8] == b"ftyp" else None


def _sniff_iso_media(data: bytes) -> str | None:
    """HEIC and AVIF share their container, and both may open with the brand `mif1`: the list of brands tells."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


@cache
def _register_heif() -> None:
    try:
        import pillow_heif  # here, because most uploads never need its codec
    except ImportError as exc:
        raise UnsupportedImage("This installation reads no HEIC; send the photo as JPEG.") from exc
    pillow_heif.register_heif_opener()


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise _too_large(limits.max_pixels, {"width": width, "height": height})
    if min(size) < limits.min_side or max(size) > limits.max_aspect * min(size):
        raise BadRequest(
            f"The image is too small or too thin to hold a face: {width}x{height} pixels.",
            code="image_too_small",
            details={"width": width, "height": height},
        )


def _refuse_animation(image: Image.Image) -> None:
    if image.format not in _FIRST_FRAME_IS_THE_PHOTO and getattr(image, "is_animated", False):
        raise UnsupportedImage("The file holds several frames or pages; send one still photo.", code="animated_image")


def _upright_bgr(image: Image.Image) -> ImageBgr:
    """Copy the decoded pixels, strip by strip, to where they belong in the upright array."""
    width, height = image.size
    orientation = _orientation(image)
    shape = (width, height, 3) if orientation in _SIDEWAYS else (height, width, 3)
    upright = np.empty(shape, dtype=np.uint8)
    stored = _STORED_VIEW[orientation](upright) if orientation in _STORED_VIEW else upright
    image.info.pop("transparency", None)  # Pillow warns about a palette's; alpha is dropped anyway, as cv2.imread does
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        stored[top:bottom] = _strip_bgr(image.crop((0, top, width, bottom)))
    return upright


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; damaged EXIF in a sound photo counts as upright."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_FAULTS:
        return 1
    return value if isinstance(value, int) else 1


def _strip_bgr(strip: Image.Image) -> NDArray[np.uint8]:
    """Pixels of any mode as (H, W, 3) BGR, or (H, W, 1) for grey ones, which NumPy spreads over the channels."""
    if strip.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255; the high byte is what cv2.imread keeps.
        grey: NDArray[np.uint8] = (np.asarray(strip) >> 8).astype(np.uint8)[:, :, np.newaxis]
        return grey
    if strip.mode not in _CONVERTIBLE_MODES:
        raise UnsupportedImage(f"Pixels of mode {strip.mode} are not a photo's.", code="unsupported_pixels")
    packed = strip.convert("RGB").tobytes("raw", "BGR")
    return np.frombuffer(packed, dtype=np.uint8).reshape(strip.height, strip.width, 3)


def _too_large(max_pixels: int | None, details: dict[str, int] | None = None) -> TooLarge:
    limit = f" of {max_pixels / 1e6:g} megapixels" if max_pixels else ""
    return TooLarge(f"The image is over the limit{limit}.", code="image_too_large", details=details)


@contextmanager
def _faults_translated() -> Iterator[None]:
    """Whatever a decoder raises becomes one of our errors; the bytes are a stranger's, so that is their fault."""
    try:
        yield
    except (MemoryError, Image.DecompressionBombError) as exc:
        raise _too_large(Image.MAX_IMAGE_PIXELS) from exc
    except _DECODER_FAULTS as exc:
        raise BadRequest("The image is truncated or damaged.", code="image_corrupt") from exc


@contextmanager
def _pillow_is_quiet() -> Iterator[None]:
    """Pillow warns about damaged metadata and about sizes that we check ourselves.

    The filter names Pillow's modules only: threads that leave this block out of order can leave nothing behind that
    would silence anybody else.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.|pillow_heif|app\.images")
        yield
