"""The console's cookie: signed, for its own pages only, and never set by an API request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from app.console.secret_key import kept_secret_key

if TYPE_CHECKING:
    from flask import Request

    from config import Settings

PREFIX = "/console"
_STATIC = f"{PREFIX}/static/"


class ConsoleSessions(SecureCookieSessionInterface):
    """Opens a session for the console's requests alone, and reads the key when it first needs it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """None for everything that is no page of the console: nothing is read, and no cookie set."""
        if not request.path.startswith(PREFIX) or request.path.startswith(_STATIC):
            return None
        if app.secret_key is None:
            app.secret_key = self._key()
        return super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:
        """As the setting says, or as the request came."""
        chosen = self._settings.console_cookie_secure
        return request.is_secure if chosen is None else chosen

    def _key(self) -> str:
        given = self._settings.console_secret_key
        return given.get_secret_value() if given else kept_secret_key(self._settings.storage_dir / "console.key")


def cookie_settings() -> dict[str, object]:
    """Lax and not Strict: a link in a mail shall open signed in, and no request that changes anything is a GET."""
    return {
        "SESSION_COOKIE_NAME": "facerec_console",
        "SESSION_COOKIE_PATH": PREFIX,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
    }
