"""Photos of profiles, many at a time and within one time limit; what does not come is left out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import structlog

from app.errors import AppError
from app.images import image_extension
from app.services.profiles.photo_keys import READ_TYPES, is_photo_key, twin_key
from app.services.profiles.records import ProfilePhotos

THREADS = 16  # as many connections as the bucket's client keeps

log = structlog.get_logger(__name__)


@dataclass
class Fetched:
    """What came, by the key that was asked for.

    :param problem: why a store failed, where one did; a photo that is not there is no failure.
    """

    photos: dict[str, bytes] = field(default_factory=dict)
    problem: str | None = None


def fetch(store: ProfilePhotos, keys: Iterable[str], timeout_s: float) -> Fetched:
    """The photos that come within the limit, which is one for all of them."""
    wanted = [key for key in dict.fromkeys(keys) if is_photo_key(key)]
    fetched, deadline = Fetched(), time.monotonic() + timeout_s
    if not wanted:
        return fetched
    pool = ThreadPoolExecutor(min(THREADS, len(wanted)), "profile-photos")
    try:
        pending = {pool.submit(_photo, store, key, deadline): key for key in wanted}
        done, late = wait(pending, timeout_s)
        for future in done:
            photo = future.result()
            if isinstance(photo, bytes):
                fetched.photos[pending[future]] = photo
            elif photo is not None:
                fetched.problem = photo.message
        if late:
            fetched.problem = "Some photos did not come within the time limit."
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a late one ends by its own limit, and nobody waits for it
    return fetched


def _photo(store: ProfilePhotos, key: str, deadline: float) -> bytes | AppError | None:
    """The photo with this key, else of the same name in the other format; what a document says is not always so.

    A bucket that may not be listed calls a photo that is not there forbidden, so the other one is tried then too.
    """
    error: AppError | None = None
    for candidate in (key, twin_key(key)):
        left_s = deadline - time.monotonic()
        if candidate is None or left_s <= 0:
            break
        photo = _asked(store, candidate, left_s)
        if isinstance(photo, bytes):
            return photo
        error = error or photo
    return error


def _asked(store: ProfilePhotos, key: str, timeout_s: float) -> bytes | AppError | None:
    """The photo; None where there is none, and where what lies there is no picture that a page shows."""
    try:
        photo = store.photo(key, timeout_s)
        return photo if photo is not None and image_extension(photo) in READ_TYPES else None
    except AppError as error:
        return error
    except Exception as exc:
        log.exception("profile_search.unexpected")
        return AppError(f"An unexpected {type(exc).__name__}; the log has more.")
