"""The console's way in: its blueprints put together, sign-in, sign-out and what guards all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, redirect, render_template, request, session, url_for
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response

from app import console
from app.console.sign_in_limit import SignInLimit
from app.errors import AppError, NotFound, Unauthorized
from app.routes import (
    console_health_routes,
    console_parity_routes,
    console_people_api,
    console_people_routes,
    console_recognise_routes,
    console_video_api,
    console_video_routes,
)
from app.routes import console_shell as shell
from app.routes.console_session import PREFIX, ConsoleSessions, cookie_settings
from app.routes.http import container

if TYPE_CHECKING:
    from config import Settings

_FOLDER = Path(console.__file__).parent
_CSRF = CSRFProtect()


def install(app: Flask, settings: Settings) -> None:
    """Give `app` the console; requests outside of it have no session and need no CSRF token, as before."""
    app.config.update(cookie_settings(), WTF_CSRF_CHECK_DEFAULT=False, WTF_CSRF_TIME_LIMIT=None)
    app.session_interface = ConsoleSessions(settings)
    app.extensions["console_sign_in_limit"] = SignInLimit()
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    _CSRF.init_app(app)
    app.register_blueprint(_pages())
    app.register_blueprint(_api())


def _pages() -> Blueprint:
    pages = Blueprint(
        "console",
        __name__,
        url_prefix=PREFIX,
        template_folder=str(_FOLDER / "templates"),
        static_folder=str(_FOLDER / "static"),
    )
    _guard(pages)
    pages.context_processor(shell.shell)
    pages.register_error_handler(AppError, shell.error_page)
    pages.register_error_handler(HTTPException, shell.http_error_page)
    pages.add_url_rule("/", "home", home)
    pages.add_url_rule("/sign-in", "sign_in", sign_in)
    pages.add_url_rule("/sign-in", "check_token", check_token, methods=["POST"])
    pages.add_url_rule("/sign-out", "sign_out", sign_out, methods=["POST"])
    pages.add_url_rule("/<path:_>", "missing", missing)
    for part in (console_recognise_routes, console_parity_routes, console_people_routes, console_health_routes):
        pages.register_blueprint(part.blueprint)
    pages.register_blueprint(console_video_routes.blueprint)
    return pages


def _api() -> Blueprint:
    """What the pages' scripts call; its errors are the envelope of every other API."""
    api = Blueprint("console_api", __name__, url_prefix=f"{PREFIX}/api")
    _guard(api, console_video_api.prepare)
    for part in (console_recognise_routes, console_people_api, console_video_api):
        api.register_blueprint(part.api)
    return api


def _guard(blueprint: Blueprint, *before_reading: Callable[[], None]) -> None:
    """:param before_reading: called for whoever is signed in, before the request's form is looked at."""
    blueprint.before_request(shell.require_sign_in)
    for step in before_reading:
        blueprint.before_request(step)
    blueprint.before_request(_CSRF.protect)
    blueprint.after_request(shell.secure)
    blueprint.url_defaults(shell.keep_domain)


def home() -> Response:
    """To the first page that the token may open."""
    return redirect(shell.first_page())


def sign_in() -> str:
    """The form that asks for a token."""
    return render_template("console/sign_in.html", next=_local(request.args.get("next")))


def check_token() -> Response | tuple[str, int]:
    """Sign in with the form's `token`, and go where the browser wanted to."""
    address, target = request.remote_addr or "", _local(request.form.get("next"))
    limit: SignInLimit = current_app.extensions["console_sign_in_limit"]
    try:
        limit.require(address)
        token = container().tokens.authenticate(request.form.get("token"))
    except AppError as error:
        if isinstance(error, Unauthorized):
            limit.failed(address)
        return render_template("console/sign_in.html", next=target, error=error), error.status
    shell.begin_session(token)
    return redirect(target or url_for("console.home"))


def sign_out() -> Response:
    """Forget the session."""
    session.clear()
    return redirect(url_for("console.sign_in"))


def missing(**_: Any) -> str:
    """:raises NotFound: always; a wrong address below the console gets a page, not an API's envelope."""
    raise NotFound("The console has no such page.")


def _local(target: str | None) -> str | None:
    """`target` where it is a page of the console: a sign-in must not lead to another host."""
    parts = urlsplit(target or "")
    is_ours = parts.path.startswith(f"{PREFIX}/") and not parts.scheme and not parts.netloc and "\\" not in parts.path
    return target if is_ours else None
