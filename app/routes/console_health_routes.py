"""The console's page Health: the state of every part, what bulk loads have done, and versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flask import Blueprint, render_template

from app.auth import ALL_TENANTS, Role
from app.errors import AppError
from app.health import report
from app.routes import console_shell as shell
from app.routes.http import container
from app.services.video import wording
from app.services.video.job_records import JobScope

blueprint = Blueprint("health", __name__, url_prefix="/health")

_PACKAGES = {
    "DeepFace": "deepface",
    "ONNX Runtime": "onnxruntime",
    "TensorFlow": "tensorflow",
    "OpenCV": "opencv-contrib-python-headless",
    "Flask": "flask",
}

RUNNING_SHOWN = 20  # of the videos that are worked on

Document = dict[str, Any]


@blueprint.get("/")
def page() -> str:
    """The whole page."""
    shell.signed_in(Role.VIEW)
    return render_template("console/health.html", **_state(), versions=list(_versions()))


@blueprint.get("/state")
def state() -> str:
    """The part of it that changes, for the page to refresh itself."""
    shell.signed_in(Role.VIEW)
    return render_template("console/health_state.html", **_state())


def _state() -> Document:
    parts = container()
    found = report(parts, with_details=True)
    allowed = set(shell.domains())
    loads, runs, videos, reason = [], [], None, None
    if parts.has_database:
        try:
            loads = [load for load in parts.console.loads() if load.domain in allowed]
            runs = [run for run in parts.console.runs() if run.domain in allowed]
            videos = _videos()
        except AppError as error:
            reason = error.message
    return {
        "report": found,
        "spec": found["services"]["engine"].get("spec"),
        "spec_key": parts.engine.spec.key,
        "galleries": _galleries(found["services"], allowed),
        "loads": loads,
        "runs": runs,
        "loads_missing": reason,
        "videos": videos,
        "video_words": wording,
        "stores": wording.STORES,
        "store_kinds": wording.STORE_KINDS,
    }


def _videos() -> Document:
    """The jobs that the token may see: its tenant's, or everybody's (`tenant` is None then)."""
    token, overview = shell.signed_in(), container().console.videos
    scope = JobScope(None if token.tenant == ALL_TENANTS else token.tenant, token.allowed_domains)
    running = overview.running(scope, RUNNING_SHOWN)
    return {"tenant": scope.tenant_id, "counts": overview.counts(scope), "running": running}


def _galleries(services: dict[str, Document], allowed: set[str]) -> list[Document]:
    """A row for each store and domain, with whatever the store tells of it."""
    return [
        {"store": name, "domain": domain, "facts": facts}
        for name, part in services.items()
        for domain, facts in part.get("domains", {}).items()
        if domain in allowed
    ]


def _versions() -> Iterator[tuple[str, str]]:
    yield "Python", platform.python_version()
    for title, package in _PACKAGES.items():
        try:
            yield title, version(package)
        except PackageNotFoundError:
            continue
