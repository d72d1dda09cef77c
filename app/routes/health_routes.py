"""Is the service alive, is it ready, and how is each of its parts."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from app.auth import Role
from app.health import DOWN, report
from app.routes.http import container, current_token

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def alive() -> dict[str, str]:
    """The process answers; nothing else is asked."""
    return {"status": "alive"}


@blueprint.get("/api/v1/health")
def health() -> tuple[dict[str, Any], int]:
    """The state of every part, 503 where `/recognize` cannot answer; details for a token with the role `view`."""
    with_details = "Authorization" in request.headers
    if with_details:
        current_token().require(Role.VIEW)
    found = report(container(), with_details)
    return found, 503 if found["status"] == DOWN else 200
