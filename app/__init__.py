"""A face recognition backend that changes its gallery engine under live traffic and proves that nothing got worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from config import Settings

# To a frontend of another origin.
EXPOSED_HEADERS = ["X-Request-ID", "Server-Timing", "Retry-After", "Location", "Idempotent-Replay"]


def create_app(settings: Settings | None = None) -> Flask:
    """Build the web application; no model is loaded and no connection made until it is used or warmed.

    :param settings: read from the environment where not given.
    """
    from flask import Flask

    from app.bootstrap import Container
    from app.routes import health_routes, http, image_routes, parity_routes, person_routes, video_routes

    container = Container(settings)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = container.settings.upload_max_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["container"] = container
    http.install(app)
    if container.settings.cors_origins:
        from flask_cors import CORS

        CORS(app, origins=list(container.settings.cors_origins), expose_headers=EXPOSED_HEADERS)
    app.register_blueprint(image_routes.blueprint)
    app.register_blueprint(person_routes.blueprint)
    app.register_blueprint(parity_routes.blueprint)
    app.register_blueprint(health_routes.blueprint)
    video_routes.install(app, container.settings.web_threads)
    if container.settings.console_enabled:
        from app.routes import console_routes

        console_routes.install(app, container.settings)
    return app
