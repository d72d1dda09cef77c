"""The form of an upload is read as it arrives: its file is passed on in pieces, and nothing else may be large."""

from __future__ import annotations

from collections.abc import Iterator
from io import RawIOBase

import pytest
from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import BadRequest
from app.routes.video_form import read_form

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.mp4"\r\n\r\n'
FIELD = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
END = b"\r\n--b--\r\n"
MIB = 1 << 20


class Body(RawIOBase):
    """A body that is made while it is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        self._rest = self._rest or next(self._pieces, b"")
        taken, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def request_of(*pieces: bytes, content_type: str = "multipart/form-data; boundary=b") -> Request:
    environ = {"wsgi.input": Body(iter(pieces)), "wsgi.input_terminated": True, "CONTENT_TYPE": content_type}
    return Request(environ | {"REQUEST_METHOD": "POST"})


def test_a_large_file_is_passed_on_in_pieces_while_it_arrives() -> None:
    sizes: list[int] = []
    pieces = [FIELD % (b"mode", b" face "), HEAD, *[b"\r\n-" * (MIB // 3)] * 40, END]
    fields = read_form(request_of(*pieces), lambda chunk: sizes.append(len(chunk)))
    assert fields == {"mode": "face"}
    assert sum(sizes) == 40 * 3 * (MIB // 3)
    assert max(sizes) <= MIB


def test_the_bytes_of_a_file_are_what_was_sent_though_they_look_like_a_boundary() -> None:
    content, got = b"\r\n--bb\r\n--b.\n\r\n-" * 1000 + b"\r\n", bytearray()
    read_form(request_of(HEAD, content, END), got.extend)
    assert bytes(got) == content


def test_fields_may_follow_the_file() -> None:
    body = HEAD + b"video\r\n" + FIELD % (b"domain", b"serbia") + b"--b--\r\n"
    assert read_form(request_of(body), lambda _: None) == {"domain": "serbia"}


def test_what_the_sink_refuses_ends_the_reading() -> None:
    def full(_: bytes) -> None:
        raise BadRequest("no more", code="full")

    endless = (b"x" * MIB for _ in iter(int, 1))
    request = request_of()
    request.environ["wsgi.input"] = Body(iter([HEAD, *[next(endless) for _ in range(2)]]))
    with pytest.raises(BadRequest, match="no more"):
        read_form(request, full)


def test_more_than_the_request_may_hold_is_refused() -> None:
    request = request_of(HEAD, *[b"x" * MIB] * 8, END)
    request.max_content_length = 4 * MIB
    with pytest.raises(RequestEntityTooLarge):
        read_form(request, lambda _: None)


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ((), "invalid_form"),
        ((b"no form at all",), "invalid_form"),
        ((HEAD, b"breaks off"), "invalid_form"),
        ((b"--b\r\nX: y\r\n\r\nvalue" + END,), "invalid_form"),
        ((b"--b\r\nX: " + b"y" * 2 * MIB,), "invalid_form"),
        ((b"p" * 2 * MIB,), "invalid_form"),
        ((FIELD % (b"domain", b"x" * 5000), b"--b--\r\n"), "invalid_form"),
        ((FIELD % (b"a", b"x"),) * 20, "invalid_form"),
        ((FIELD % (b"mode", b"face"), b"--b--\r\n"), "video_missing"),
        ((HEAD, b"one\r\n", HEAD, b"two", END), "too_many_files"),
        ((HEAD.replace(b'name="file"', b'name="image"'), b"one", END), "too_many_files"),
    ],
)
def test_what_is_no_such_form_is_refused(pieces: tuple[bytes, ...], code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_form(request_of(*pieces), lambda _: None)
    assert caught.value.error_code == code


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "multipart/form-data; x=y"])
def test_a_body_that_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_form(request_of(b"{}", content_type=content_type), lambda _: None)
    assert caught.value.error_code == "video_missing"
