"""The form of `POST /v3/process`, read as it arrives: the file goes where it is told to, never into memory whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from app.errors import BadRequest

FILE = "file"

_CHUNK = 256 * 1024
_MAX_BUFFER = 4 * _CHUNK  # of what is neither a file's content nor a field's value: headers, and what precedes them
_MAX_FIELD = 4096  # bytes
_MAX_PARTS = 16


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Reader:
    """Sorts the parts of a form."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._part: Event | None = None
        self._values: dict[str, bytearray] = {}
        self.files = 0

    def take(self, event: Event) -> None:
        if isinstance(event, Data):
            self._take_content(event.data)
            return
        self._part = event
        if isinstance(event, File):
            self._begin_file(event.name)
        elif isinstance(event, Field):
            self._values[event.name or ""] = bytearray()

    @property
    def fields(self) -> dict[str, str]:
        return {name: value.decode("utf-8", "replace").strip() for name, value in self._values.items()}

    def _begin_file(self, name: str | None) -> None:
        self.files += 1
        if name != FILE or self.files > 1:
            raise BadRequest(f"Send one video, as the file field '{FILE}'.", code="too_many_files")

    def _take_content(self, content: bytes) -> None:
        if isinstance(self._part, File):
            self._write(content)
        elif isinstance(self._part, Field):
            value = self._values[self._part.name or ""]
            value += content
            if len(value) > _MAX_FIELD:
                raise BadRequest("A field of the form is too long.", code="invalid_form")


def read_form(request: Request, write: Callable[[bytes], None]) -> dict[str, str]:
    """The form's fields, stripped; its file's content is handed to `write` in pieces while it arrives.

    :raises BadRequest: no form, one that breaks off, or no file field `file` in it.
    :raises RequestEntityTooLarge: more bytes came than `request.max_content_length` allows.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary:
        raise _missing()
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), _MAX_BUFFER, max_parts=_MAX_PARTS)
    reader = _Reader(write)
    try:
        _decode(request.stream, decoder, reader)
    except ValueError as exc:
        raise _broken() from exc
    if not reader.files:
        raise _missing()
    return reader.fields


def _decode(stream: _Stream, decoder: MultipartDecoder, reader: _Reader) -> None:
    at_end = False
    while not at_end:
        chunk = stream.read(_CHUNK)
        try:
            decoder.receive_data(chunk or None)
            at_end = _events(decoder, reader)
        except RequestEntityTooLarge:  # too long headers, or too many parts: not what the limit of the upload is about
            raise _broken() from None


def _events(decoder: MultipartDecoder, reader: _Reader) -> bool:
    """Take what can be decoded; whether that was the end."""
    while not isinstance(event := decoder.next_event(), NeedData):
        if isinstance(event, Epilogue):
            return True
        reader.take(event)
    return False


def _missing() -> BadRequest:
    return BadRequest(f"Send the video as the file field '{FILE}' of a multipart form.", code="video_missing")


def _broken() -> BadRequest:
    return BadRequest("The form cannot be read: it breaks off, or is no multipart form.", code="invalid_form")
