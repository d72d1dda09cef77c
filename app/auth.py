"""Who may do what: tokens, roles, domains and tenants.

Tokens lie in a file and not in the database, because in the modes `pkl` and `dual` the service answers while the
database is away. The file holds SHA-256 digests of 256-bit random tokens, never a token.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from hmac import compare_digest
from pathlib import Path
from typing import Any

from app.atomic_file import locked, write_atomically
from app.domain import check_domain_name, check_tenant
from app.errors import BadRequest, Forbidden, NotFound, StoreUnavailable, Unauthorized

ALL_DOMAINS = "*"
ALL_TENANTS = "*"
DEFAULT_TENANT = "default"


class Role(StrEnum):
    """What a token may be used for; `admin` includes all others."""

    RECOGNISE = "recognise"
    VIEW = "view"
    ENROL = "enrol"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token.

    :param sha256: hex digest of the token itself.
    :param domains: the domains it may use; `*` for all.
    :param tenant: whose videos it may send and see; `*` for everybody's.
    :param expires_at: ISO 8601 with offset, or None for never.
    """

    id: str
    name: str
    sha256: str
    domains: tuple[str, ...]
    roles: tuple[str, ...]
    created_at: str
    tenant: str = DEFAULT_TENANT
    expires_at: str | None = None

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and datetime.fromisoformat(self.expires_at) <= now

    def require(self, *roles: Role) -> None:
        """:raises Forbidden: the token has none of these roles."""
        if not {*roles, Role.ADMIN} & set(self.roles):
            wanted = " or ".join(f"'{role}'" for role in roles)
            raise Forbidden(f"This token lacks the role {wanted}.", code="role_missing")

    def domain(self, requested: str | None) -> str:
        """The domain a request is about: the token's only one, or the one the request names.

        :raises BadRequest: the token may use several and the request names none, or no possible name.
        :raises Forbidden: the token may not use it.
        """
        if requested is None:
            if len(self.domains) == 1 and self.domains[0] != ALL_DOMAINS:
                return self.domains[0]
            raise BadRequest(
                "This token may use several domains: name one in the field 'domain'.", code="domain_required"
            )
        check_domain_name(requested)
        if requested not in self.domains and ALL_DOMAINS not in self.domains:
            raise Forbidden("This token may not use that domain.", code="domain_not_allowed")
        return requested

    @property
    def allowed_domains(self) -> tuple[str, ...] | None:
        """The domains it may use; None for all."""
        return None if ALL_DOMAINS in self.domains else self.domains

    def tenant_for(self, requested: str | None) -> str:
        """The tenant a request is about: the one it names, which must be the token's, or else the token's own.

        :raises BadRequest: no possible name; Forbidden: the token is another tenant's.
        """
        if requested is None:
            return DEFAULT_TENANT if self.tenant == ALL_TENANTS else self.tenant
        check_tenant(requested)
        if self.tenant not in (requested, ALL_TENANTS):
            raise Forbidden("This token is of another tenant.", code="tenant_not_allowed")
        return requested


class TokenStore:
    """The tokens file, read again whenever it changes, so that a revocation counts in every worker at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def authenticate(self, header: str | None) -> Token:
        """The token behind an `Authorization` header (`<token>` or `Bearer <token>`).

        :raises Unauthorized: missing, unknown or expired.
        """
        presented = _bare_token(header)
        if not presented:
            raise Unauthorized("Send a token in the header 'Authorization'.", code="token_missing")
        return self.of_digest(digest_of(presented))

    def of_digest(self, digest: str) -> Token:
        """The token with this digest.

        :param digest: SHA-256, in hex.
        :raises Unauthorized: unknown, revoked or expired.
        """
        found = next((t for t in self.tokens() if compare_digest(t.sha256, digest)), None)
        if found is None:
            raise Unauthorized("This token is not known.", code="token_unknown")
        if found.is_expired(datetime.now(UTC)):
            raise Unauthorized("This token has expired; ask for a new one.", code="token_expired")
        return found

    def tokens(self) -> tuple[Token, ...]:
        """All tokens of the file; none where there is no file yet.

        :raises StoreUnavailable: the file cannot be read.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return ()
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        with self._lock:
            if stamp != self._stamp:
                self._tokens, self._stamp = _read(self._path), stamp
            return self._tokens

    def create(
        self,
        name: str,
        domains: Iterable[str],
        roles: Iterable[Role],
        expires_at: datetime | None,
        tenant: str = DEFAULT_TENANT,
    ) -> str:
        """Add a token and return it; it is shown this once and kept nowhere.

        :param tenant: whose videos it may send and see; `*` for everybody's.
        :raises BadRequest: no domain, or a name that cannot be a domain's or a tenant's.
        """
        named = tuple(d if d == ALL_DOMAINS else check_domain_name(d) for d in domains)
        if not named:
            raise BadRequest("Name at least one domain, or '*' for all.", code="domain_required")
        secret = secrets.token_urlsafe(32)
        token = Token(
            id=f"t_{secrets.token_hex(4)}",
            name=name,
            sha256=digest_of(secret),
            domains=named,
            roles=tuple(str(r) for r in roles),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            tenant=tenant if tenant == ALL_TENANTS else check_tenant(tenant),
        )
        self._rewrite(add=replace(token, expires_at=expires_at.isoformat() if expires_at else None))
        return secret

    def revoke(self, token_id: str) -> None:
        """:raises NotFound: no token has this id."""
        if all(t.id != token_id for t in self.tokens()):
            raise NotFound(f"No token has the id {token_id}.", code="token_unknown")
        self._rewrite(drop=token_id)

    def _rewrite(self, add: Token | None = None, drop: str | None = None) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._path):
            kept = [t for t in self.tokens() if t.id != drop] + ([add] if add else [])
            document = {"tokens": [asdict(t) for t in kept]}
            write_atomically(self._path, json.dumps(document, indent=2).encode(), mode=0o600)


def digest_of(token: str) -> str:
    """SHA-256 of a token; enough for random 256-bit tokens, which no dictionary holds."""
    return hashlib.sha256(token.encode()).hexdigest()


def _bare_token(header: str | None) -> str:
    scheme, _, rest = (header or "").strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else (header or "").strip()


def _read(path: Path) -> tuple[Token, ...]:
    try:
        return tuple(_token(item) for item in json.loads(path.read_bytes())["tokens"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise StoreUnavailable(
            f"The tokens file {path.name} cannot be read ({type(exc).__name__}); restore it or make new tokens.",
            code="tokens_unreadable",
        ) from exc


def _token(item: dict[str, Any]) -> Token:
    return Token(**item | {"domains": tuple(item["domains"]), "roles": tuple(item["roles"])})
