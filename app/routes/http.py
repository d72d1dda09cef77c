"""What every route shares: the container, the token, the request's id and the error envelope."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import structlog
from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.auth import Token
from app.errors import AppError, Overloaded, TooLarge
from app.timing import recording

if TYPE_CHECKING:
    from app.bootstrap import Container

log = structlog.get_logger(__name__)

SERVER_ERROR = 500
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DRAIN_CHUNK = 1024 * 1024
_DRAIN_CHUNKS = 256


def container() -> Container:
    """The application's container."""
    return cast("Container", current_app.extensions["container"])


def current_token() -> Token:
    """The token of this request.

    :raises Unauthorized: missing, unknown or expired.
    """
    return container().tokens.authenticate(request.headers.get("Authorization"))


@contextmanager
def timed(event: str, **facts: Any) -> Iterator[dict[str, Any]]:
    """Answer with where the time went: the stages of what runs inside, in the header and in the request's log line.

    They are told also where the block raises.

    :param event: the name of the log line.
    :return: what else the line says; the caller adds to it.
    """
    with recording() as stages:
        g.event, g.facts, g.stages = event, facts, stages
        yield facts


def install(app: Flask) -> None:
    """Give `app` request ids, one log line a request, and the error envelope for whatever goes wrong."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(AppError, _app_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _begin() -> None:
    offered = request.headers.get("X-Request-ID", "")
    g.request_id = offered if _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.is_json:
        response.headers["Cache-Control"] = "no-store"
    ms = round((time.perf_counter() - g.started) * 1000, 1)
    _tell_stages(response, ms)
    emit = log.error if response.status_code >= SERVER_ERROR else log.info
    emit(
        g.get("event", "request"),
        method=request.method,
        path=request.path,
        status=response.status_code,
        ms=ms,
        **g.get("facts", {}),
    )
    return response


def _tell_stages(response: Response, total_ms: float) -> None:
    """The header `Server-Timing` (W3C, Server Timing) and the log line's `stages`, with the same figures."""
    if "stages" not in g:
        return
    # A copy: in dual mode a candidate that is past its limit still records.
    g.facts["stages"] = {name: round(ms, 1) for name, ms in dict(g.stages).items()}
    told = g.facts["stages"] | {"total": total_ms}
    response.headers["Server-Timing"] = ", ".join(f"{name};dur={ms}" for name, ms in told.items())
    origin, allowed = request.headers.get("Origin"), container().settings.cors_origins
    if origin and (origin in allowed or "*" in allowed):
        response.headers["Timing-Allow-Origin"] = origin  # else a browser keeps the header from the frontend


def _app_error(error: AppError) -> tuple[Response, int]:
    response = _envelope(error)
    if isinstance(error, Overloaded):
        drain()
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response, error.status


def _http_error(error: HTTPException) -> tuple[Response, int] | Response:
    if isinstance(error, RequestEntityTooLarge):
        drain()
        limit = container().settings.upload_max_mb
        return _app_error(
            TooLarge(f"The upload is larger than {limit} MB; send a smaller photo.", code="body_too_large")
        )
    status = error.code or SERVER_ERROR
    code = (error.name or "error").lower().replace(" ", "_")
    response = _envelope(AppError(error.description or error.name, code=code))
    response.headers.extend(h for h in error.get_headers() if h[0] == "Allow")
    return response, status


def _unexpected(error: Exception) -> tuple[Response, int]:
    log.exception("request failed unexpectedly", path=request.path)
    return _envelope(AppError("Something went wrong on our side; the log has the details under this request id.")), 500


def _envelope(error: AppError) -> Response:
    return jsonify(
        status="error",
        error={"code": error.error_code, "message": error.message, "details": error.details},
        request_id=g.get("request_id"),
    )


def drain() -> None:
    """Read what the client still sends, within bounds: answered earlier, it would see a reset and not the answer."""
    stream = request.environ["wsgi.input"]
    for _ in range(_DRAIN_CHUNKS):
        if not stream.read(_DRAIN_CHUNK):
            return
