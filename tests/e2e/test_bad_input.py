"""Bad input over a real socket: each gets its own status and code, a request id, and leaves no file behind."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from scripts import demo_faces
from tests.e2e.conftest import Service

INJECTIONS = ["demo'; DROP TABLE persons; --", '" OR 1=1 --', "demo UNION SELECT 1", "{demo}", "demo\x00", "%27"]


def picture(kind: str, size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    """A photo without a face."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 40).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def animation() -> bytes:
    frames = [Image.effect_noise((64, 64), sigma) for sigma in (10, 60, 120)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def png_bomb(side: int = 50_000) -> bytes:
    """A PNG of `side` x `side` black pixels in some kilobytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    rows = zlib.compress(bytes((side // 8 + 1) * 2000), 9)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def truncated_jpeg() -> bytes:
    whole = picture("JPEG", (640, 480))
    return whole[: len(whole) // 2]


BAD_PHOTOS = {
    "empty": (b"", 400, "empty_file"),
    "text named .jpg": (b"this is not a photo", 415, "not_an_image"),
    "truncated JPEG": (truncated_jpeg(), 400, "image_corrupt"),
    "PNG bomb": (png_bomb(), 413, "image_too_large"),
    "animated GIF": (animation(), 415, "animated_image"),
    "no face": (picture("JPEG", (320, 240)), 422, "no_face"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "not_an_image"),
    "PDF": (b"%PDF-1.7\n", 415, "not_an_image"),
}


def is_refused(response: requests.Response, status: int, code: str) -> None:
    body = response.json()
    assert (response.status_code, body["status"], body["error"]["code"]) == (status, "error", code)
    assert set(body) == {"status", "error", "request_id"}
    assert set(body["error"]) == {"code", "message", "details"}
    assert body["error"]["message"]
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert "Traceback" not in response.text


def files_of(service: Service) -> set[Path]:
    folders = (service.storage, Path(tempfile.gettempdir()))
    skipped = {"pgdata", "logs"}
    return {p for f in folders for p in f.glob("*/*") if not skipped & set(p.parts)} | set(service.storage.glob("*"))


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_a_bad_photo_is_refused_with_its_own_code_and_leaves_no_file(dual: Service, kind: str) -> None:
    photo, status, code = BAD_PHOTOS[kind]
    before = files_of(dual)
    is_refused(dual.recognize(photo), status, code)
    assert files_of(dual) == before


def test_a_request_without_a_file_says_which_field_it_wants(dual: Service) -> None:
    headers = {"Authorization": dual.tokens["demo"]}
    for fields in ({}, {"files": {"photo": b"x"}}, {"data": {"image": "text"}}, {"json": {"image": "x"}}):
        response = requests.post(f"{dual.address}/recognize", headers=headers, timeout=10, **fields)  # type: ignore[arg-type]
        is_refused(response, 400, "image_missing")
        assert "'image'" in response.json()["error"]["message"]


def test_two_photos_in_one_request_are_refused(dual: Service) -> None:
    files = [("image", ("a.jpg", b"x")), ("image", ("b.jpg", b"y"))]
    response = requests.post(
        f"{dual.address}/recognize", headers={"Authorization": dual.tokens["demo"]}, files=files, timeout=10
    )
    is_refused(response, 400, "too_many_images")


def test_a_body_of_100_mb_is_refused_and_the_client_reads_the_answer(dual: Service) -> None:
    before = files_of(dual)
    is_refused(dual.recognize(bytes(100 * 1024 * 1024)), 413, "body_too_large")
    assert files_of(dual) == before


def test_a_face_below_the_size_limit_is_said_to_be_too_small(start_service: Any) -> None:
    with start_service({"VECTOR_DB_ENABLED": "false", "FACE_MIN_SIZE": "500"}) as service:
        is_refused(service.recognize(demo_faces.known_probe()[0]), 422, "face_too_small")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bit(photo: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)


def with_orientation(photo: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: stored rotated, to be shown upright
    return encoded(photo.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


GOOD_FORMATS = {
    "CMYK": lambda p: encoded(p.convert("CMYK"), "JPEG", quality=95),
    "16-bit": lambda p: encoded(sixteen_bit(p), "PNG"),
    "grey and alpha": lambda p: encoded(p.convert("LA"), "PNG"),
    "palette": lambda p: encoded(p.quantize(256), "PNG"),
    "EXIF-rotated": with_orientation,
    "HEIC": lambda p: encoded(p, "HEIF", quality=95),
    "WebP": lambda p: encoded(p, "WEBP", quality=95),
    "still GIF": lambda p: encoded(p, "GIF"),
    "BMP": lambda p: encoded(p, "BMP"),
    "TIFF": lambda p: encoded(p, "TIFF"),
}


@pytest.mark.parametrize("kind", GOOD_FORMATS)
def test_every_format_a_newsroom_sends_is_recognised(dual: Service, kind: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    photo, person = demo_faces.known_probe()
    upload = GOOD_FORMATS[kind](Image.open(io.BytesIO(photo)).convert("RGB"))
    answer = dual.recognize(upload).json()
    assert answer["recognized_faces"][0]["name"] == person, answer


@pytest.mark.parametrize(
    ("token", "fields", "status", "code"),
    [
        ("wrong", {}, 401, "token_unknown"),
        ("expired", {}, 401, "token_expired"),
        ("demo", {"domain": "serbia"}, 403, "domain_not_allowed"),
        ("other", {"domain": "demo"}, 403, "domain_not_allowed"),
        ("viewer", {}, 403, "role_missing"),
        ("several", {}, 400, "domain_required"),
        ("all", {"domain": "atlantis"}, 404, "unknown_domain"),
        ("other", {}, 404, "unknown_domain"),
    ],
)
@pytest.mark.parametrize("path", ["/recognize", "/recognize-pgvector-test"])
def test_tokens_open_only_their_own_domains(
    dual: Service, path: str, token: str, fields: dict[str, str], status: int, code: str
) -> None:
    is_refused(dual.recognize(demo_faces.known_probe()[0], path, token, data=fields), status, code)


def test_a_request_without_a_token_is_refused(dual: Service) -> None:
    response = requests.post(f"{dual.address}/recognize", files={"image": b"x"}, timeout=10)
    is_refused(response, 401, "token_missing")


def test_a_token_for_several_domains_names_one_in_the_form_or_the_query(dual: Service) -> None:
    photo, person = demo_faces.known_probe()
    for extra in ({"data": {"domain": "demo"}}, {"params": {"domain": "demo"}}):
        answer = dual.recognize(photo, token="several", **extra).json()
        assert answer["recognized_faces"][0]["name"] == person
    bearer = {"Authorization": f"Bearer {dual.tokens['demo']}"}
    assert dual.recognize(photo, headers=bearer).status_code == 200


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_in_a_text_field_is_only_text(dual: Service, text: str) -> None:
    photo, person = demo_faces.known_probe()
    is_refused(dual.recognize(photo, token="all", data={"domain": text}), 400, "invalid_domain")
    is_refused(dual.recognize(photo, token="all", params={"domain": text}), 400, "invalid_domain")
    named = requests.post(
        f"{dual.address}/recognize",
        headers={"Authorization": dual.tokens["demo"]},
        files={"image": (text.replace("\x00", ""), photo)},
        timeout=30,
    )
    assert named.json()["recognized_faces"][0]["name"] == person
    if "\x00" not in text:
        is_refused(dual.recognize(photo, headers={"Authorization": text}), 401, "token_unknown")
    assert dual.recognize(photo).json()["comparison"]["top1_match"] is True


def test_an_unknown_path_and_a_wrong_method_have_the_envelope_too(dual: Service) -> None:
    is_refused(requests.get(f"{dual.address}/nowhere", timeout=10), 404, "not_found")
    refused = requests.get(f"{dual.address}/recognize", timeout=10)
    is_refused(refused, 405, "method_not_allowed")
    assert "POST" in refused.headers["Allow"]
