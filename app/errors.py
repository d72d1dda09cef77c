"""The errors this service raises on purpose, each with its code, HTTP status and a sentence that says what to do.

No Flask here: a route turns an `AppError` into the envelope, a script turns it into a line and an exit code.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AppError(Exception):
    """A failure with a stable code, an HTTP status and a message written for the person who reads it.

    :param message: one or two sentences; no secret, no biometric data, no person's name.
    :param code: overrides the kind's default code where one kind has several.
    :param details: machine-readable facts, JSON-serialisable.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, code: str | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or self.code
        self.details = details or {}


class BadRequest(AppError):
    """The request is malformed: a field is missing, empty or out of range."""

    code, status = "bad_request", 400


class Unauthorized(AppError):
    """No token, or one that is unknown, revoked or expired."""

    code, status = "unauthorized", 401


class Forbidden(AppError):
    """The token is good but lacks the right."""

    code, status = "forbidden", 403


class NotFound(AppError):
    """What the request names does not exist."""

    code, status = "not_found", 404


class UnknownDomain(NotFound):
    """The gallery has no such domain."""

    code = "unknown_domain"


class Conflict(AppError):
    """The request contradicts what is stored."""

    code, status = "conflict", 409


class SpecMismatch(Conflict):
    """Two embedding specs differ, so their vectors must not be compared."""

    code = "spec_mismatch"


class TooLarge(AppError):
    """The body, or the image after decoding, is over a limit."""

    code, status = "too_large", 413


class UnsupportedImage(AppError):
    """The upload is not an image this service reads."""

    code, status = "not_an_image", 415


class UnsupportedVideo(AppError):
    """The upload is not a video this service reads."""

    code, status = "not_a_video", 415


class NoFace(AppError):
    """The photo holds no face that can be recognised."""

    code, status = "no_face", 422


class StoreUnavailable(AppError):
    """A store (PKL gallery, database) cannot be reached or does not answer in time."""

    code, status = "store_unavailable", 503


class DatabaseUnconfigured(StoreUnavailable):
    """What was asked for needs a database, and none is configured."""

    code = "database_unconfigured"

    def __init__(self) -> None:
        super().__init__("No database is configured: set DATABASE_URL, or VECTOR_DB_ENABLED=true for the embedded one.")


class StoreTimeout(StoreUnavailable):
    """A store did not answer within its time limit."""

    code = "store_timeout"


class Overloaded(AppError):
    """More photos are waiting than can be answered in time.

    :param retry_after_s: when it is worth coming back, in seconds.
    """

    code, status = "overloaded", 503

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            "The service is busy with other photos; try again in a moment.", details={"retry_after_s": retry_after_s}
        )
        self.retry_after_s = retry_after_s


class StartupError(AppError):
    """The service cannot start as configured; the message is the one sentence the operator needs."""

    code, status = "startup_error", 503


class UnsafePickle(AppError):
    """A PKL file asks for something other than plain data; nothing in it was run."""

    code, status = "unsafe_pickle", 503


class WebhookFailed(AppError):
    """A webhook was not delivered; trying again may help."""

    code, status = "webhook_failed", 502


class WebhookRefused(WebhookFailed):
    """A webhook's address is one this service does not send to, or sends us elsewhere; trying again is no use."""

    code, status = "webhook_refused", 400
