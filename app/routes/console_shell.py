"""What every page of the console shares: who is signed in, where they may go, the domain, and how errors look."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, g, redirect, render_template, request, session, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from app.auth import ALL_DOMAINS, Role, Token
from app.domain import Mode
from app.errors import AppError, Forbidden, NotFound, Unauthorized
from app.routes.http import container
from app.services.people.person_records import Scope
from app.services.video.job_records import JobScope

PUBLIC = frozenset({"console.static", "console.sign_in", "console.check_token"})

# 'self' alone: no page needs another host, an inline script or an inline style. Photos are shown from memory (blob:).
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_DIGEST, _UNTIL, _NOTICES = "token", "until", "notices"
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Page:
    """An entry of the navigation; shown to tokens with one of the roles, once its endpoint exists.

    :param icon: a symbol of `static/icons.svg`.
    """

    endpoint: str
    label: str
    icon: str
    roles: tuple[Role, ...]


NAVIGATION = (
    Page("console.recognise.page", "Recognise", "recognise", (Role.RECOGNISE,)),
    Page("console.parity.overview", "Parity", "parity", (Role.VIEW,)),
    Page("console.people.listing", "People", "people", (Role.VIEW, Role.ENROL)),
    Page("console.videos.listing", "Videos", "video", (Role.RECOGNISE, Role.VIEW)),
    Page("console.health.page", "Health", "health", (Role.VIEW,)),
)


def begin_session(token: Token) -> None:
    """Sign the browser in; the cookie names the token by its digest, so that revoking it ends the session too."""
    session.clear()
    session[_DIGEST] = token.sha256
    session[_UNTIL] = time.time() + container().settings.console_session_hours * _SECONDS_PER_HOUR


def require_sign_in() -> None:
    """Let nobody pass without a session.

    :raises Unauthorized: there is none, it is over, or its token was revoked or has expired.
    """
    if request.endpoint in PUBLIC:
        return
    if time.time() >= session.get(_UNTIL, 0.0):
        session.clear()
        raise Unauthorized("Sign in with your token.", code="sign_in_required")
    g.token = container().tokens.of_digest(session[_DIGEST])


def notify(text: str, kind: str = "ok", undo: int | None = None) -> None:
    """Say something on the page that comes next.

    :param kind: `ok` or `bad`.
    :param undo: id of the merge that a button beside it undoes.
    """
    session[_NOTICES] = [*session.get(_NOTICES, []), {"text": text, "kind": kind, "undo": undo}]


def signed_in(*roles: Role) -> Token:
    """Whoever is signed in.

    :raises Forbidden: they have none of these roles.
    """
    token: Token = g.token
    if roles:
        token.require(*roles)
    return token


def scope(*roles: Role) -> Scope:
    """Where the request is about something, and who asks.

    :raises Forbidden: they have none of these roles.
    """
    return Scope(domain(), signed_in(*roles).id)


def tenant(*roles: Role) -> str:
    """Whose videos the request is about, as `X-Tenant-Id` says it to the API.

    :raises Forbidden: whoever is signed in has none of these roles, or is of another tenant.
    """
    return signed_in(*roles).tenant_for(request.args.get("tenant") or None)


def job_scope(*roles: Role) -> JobScope:
    """Whose videos may be seen: of the tenant that the request is about, those of the token's domains.

    :raises Forbidden: as `tenant`.
    """
    return JobScope(tenant(*roles), signed_in().allowed_domains)


def keep_tenant(endpoint: str, values: dict[str, Any]) -> None:
    """Links between pages of videos lead to the same tenant's."""
    if request.args.get("tenant"):
        values.setdefault("tenant", request.args["tenant"])


def domain() -> str:
    """The domain that the request names, or the first that the token may use.

    :raises Forbidden: the token may not use it.
    :raises NotFound: the token may use all, and there is none yet.
    """
    requested = request.values.get("domain")
    if requested:
        return signed_in().domain(requested)
    known = domains()
    if not known:
        raise NotFound("There is no gallery yet: import a PKL or embed a folder of photos first.", code="no_gallery")
    return known[0]


def domains() -> list[str]:
    """The domains that the token may use, of which there may be none yet where it may use all."""
    token = signed_in()
    if ALL_DOMAINS not in token.domains:
        return list(token.domains)
    if "known_domains" not in g:
        g.known_domains = sorted(_known_domains())
    return list(g.known_domains)


def keep_domain(endpoint: str, values: dict[str, Any]) -> None:
    """Links lead to the same domain, so that two tabs can be in two domains."""
    if endpoint not in PUBLIC and "token" in g and len(domains()) > 1:
        values.setdefault("domain", request.values.get("domain") or domains()[0])


def shell() -> dict[str, Any]:
    """What the layout shows."""
    if "token" not in g:
        return {"token": None, "take_notices": list}
    known, named = domains(), request.values.get("domain")
    return {
        "token": g.token,
        "take_notices": lambda: session.pop(_NOTICES, []),
        "navigation": [page for page in NAVIGATION if _may_open(page)],
        "domains": known,
        "domain": named if named in known else (known or [""])[0],
        "may_enrol": _has(Role.ENROL),
        "is_admin": _has(Role.ADMIN),
        "mode": str(container().settings.mode),
    }


def first_page() -> str:
    """Where a sign-in leads: the first page that the token may open.

    :raises Forbidden: it may open none.
    """
    for page in NAVIGATION:
        if _may_open(page):
            return url_for(page.endpoint)
    raise Forbidden("This token has no role that the console has a page for.", code="role_missing")


def error_page(error: AppError) -> tuple[str, int] | BaseResponse:
    """The sentence of an error as a page; whoever is not signed in is led to the sign-in instead."""
    if isinstance(error, Unauthorized) and "token" not in g:
        target = request.full_path.rstrip("?") if request.method == "GET" else None
        return redirect(url_for("console.sign_in", next=target))
    return render_template("console/error.html", error=error, request_id=g.get("request_id")), error.status


def http_error_page(error: HTTPException) -> tuple[str, int] | BaseResponse:
    """Flask's own refusals, a missing CSRF token among them."""
    refused = AppError(error.description or error.name)
    return render_template("console/error.html", error=refused, request_id=g.get("request_id")), error.code or 500


def secure(response: Response) -> Response:
    """Headers of every answer; pages and faces are not to be found in a cache of anybody else."""
    response.headers.update(_SECURITY_HEADERS)
    if request.endpoint != "console.static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _may_open(page: Page) -> bool:
    return page.endpoint in current_app.view_functions and _has(*page.roles)


def _has(*roles: Role) -> bool:
    return bool({*roles, Role.ADMIN} & set(signed_in().roles))


def _known_domains() -> set[str]:
    parts, found = container(), set[str]()
    with suppress(AppError):  # a gallery that is away is no reason to show no page
        if parts.settings.mode is not Mode.PGVECTOR:
            found |= parts.pkl_snapshots.domains()
    with suppress(AppError):
        if parts.settings.vector_db_enabled:
            found |= parts.pgvector_recognition.domains()
    return found
