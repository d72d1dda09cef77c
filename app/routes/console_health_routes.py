"""The console's page Health: the state of every part, what bulk loads have done, and versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flask import Blueprint, render_template

from app.auth import Role
from app.errors import AppError
from app.health import report
from app.routes import console_shell as shell
from app.routes.http import container

blueprint = Blueprint("health", __name__, url_prefix="/health")

_PACKAGES = {
    "DeepFace": "deepface",
    "ONNX Runtime": "onnxruntime",
    "TensorFlow": "tensorflow",
    "OpenCV": "opencv-contrib-python-headless",
    "Flask": "flask",
}

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
    loads, runs, reason = [], [], None
    if parts.has_database:
        try:
            loads = [load for load in parts.console.loads() if load.domain in allowed]
            runs = [run for run in parts.console.runs() if run.domain in allowed]
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
    }


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
