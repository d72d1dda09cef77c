"""What a video that arrives in a request meets, whoever sends it: the limit of its size, and a turn of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from flask import Flask, current_app
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import AppError
from app.routes.http import container, drain
from app.routes.places import Places
from app.services.video.uploads import MIB, video_too_large

_PLACES = "places_of_uploads"


class TooManyUploads(AppError):
    """As many videos arrive at once, and streams last, as this worker has threads for."""

    code, status = "too_many_uploads", 503


def install(app: Flask, places: Places) -> None:
    """:param places: of this worker."""
    app.extensions[_PLACES] = places


def max_bytes() -> int:
    """Of a video (VIDEO_MAX_MB)."""
    return container().settings.video_max_mb * MIB


@contextmanager
def answered_when_read() -> Iterator[None]:
    """Of a video that is refused, read on a while: answered earlier, its sender would see a reset and no answer."""
    try:
        yield
    except AppError:
        drain()
        raise
    except RequestEntityTooLarge:
        drain()
        raise video_too_large(max_bytes()) from None


@contextmanager
def one_of_the_uploads() -> Iterator[None]:
    """:raises TooManyUploads: no place is free."""
    places = cast(Places, current_app.extensions[_PLACES])
    if not places.take_for_video():
        raise TooManyUploads("Too many videos arrive at once; try again in a moment.")
    try:
        yield
    finally:
        places.leave()
