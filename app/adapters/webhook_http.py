"""Webhooks by HTTP, sent to addresses that are nobody's inside.

A name is resolved once and the connection goes to that very address: asked a second time, DNS could name another one.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
from requests.adapters import HTTPAdapter

from app.errors import WebhookFailed, WebhookRefused

_TIMEOUT_S = (5.0, 10.0)  # to connect, and for each read of the answer's head; its body is not read
_MAX_URL = 2000
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookSender:
    """Posts webhooks.

    :param allow_private: send also to private, loopback and link-local addresses.
    """

    def __init__(self, allow_private: bool = False) -> None:
        self._allow_private = allow_private

    def check(self, url: str) -> None:
        """Say at once what can be said without asking DNS.

        :raises WebhookRefused: no http or https, credentials in it, or a private address.
        """
        host = _parsed(url).hostname or ""
        try:
            self._require_allowed(ipaddress.ip_address(host))
        except ValueError:  # a name: looked up when it is sent
            return

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send `body`; done when the receiver answers with 2xx. A redirect is not followed.

        :raises WebhookRefused: as `check`, also for what the name resolves to; or the receiver redirects.
        :raises WebhookFailed: no connection, no answer in time, or another answer.
        """
        parts = _parsed(url)
        address = self._address(parts)
        with requests.Session() as session:
            session.trust_env = False  # no proxy, which would resolve the name itself; no .netrc
            session.mount("https://", _NamedHost(parts.hostname or ""))
            status = _posted(session, _at(parts, address), body, {**headers, "Host": _host(parts)})
        if requests.codes.multiple_choices <= status < requests.codes.bad_request:
            raise WebhookRefused("The webhook's receiver redirects; name the address itself.")
        if status >= requests.codes.bad_request:
            raise WebhookFailed(f"The webhook's receiver answered with {status}.")

    def _address(self, parts: SplitResult) -> Address:
        """The first address of the host, all of which must be allowed."""
        try:
            found = socket.getaddrinfo(parts.hostname, _port(parts), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise WebhookFailed("The webhook's host has no address.") from None
        addresses = [ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]
        for address in addresses:
            self._require_allowed(address)
        return addresses[0]

    def _require_allowed(self, address: Address) -> None:
        if not self._allow_private and not _is_public(address):
            raise WebhookRefused(
                "The webhook's address is not a public one; VIDEO_WEBHOOK_ALLOW_PRIVATE=true allows private ones."
            )


class _NamedHost(HTTPAdapter):
    """Connects to an address, and checks the certificate of the name behind which it was found."""

    def __init__(self, host: str) -> None:
        self._host = host
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, server_hostname=self._host, assert_hostname=self._host, **options)


def _posted(session: requests.Session, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    try:
        with session.post(
            url, data=body, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False, stream=True
        ) as answer:
            return answer.status_code
    except requests.Timeout:
        raise WebhookFailed("The webhook's receiver did not answer in time.") from None
    except requests.exceptions.SSLError:
        raise WebhookFailed("The certificate of the webhook's receiver is not valid.") from None
    except requests.RequestException:
        raise WebhookFailed("The webhook's receiver cannot be reached.") from None


def _parsed(url: str) -> SplitResult:
    """:raises WebhookRefused: it is no address of a web server, or holds credentials."""
    try:
        parts = urlsplit(url)
        usable = len(url) <= _MAX_URL and parts.scheme in _PORTS and bool(parts.hostname) and _port(parts) > 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise WebhookRefused("A webhook's address begins with https:// or http:// and names a host.")
    if "@" in parts.netloc:
        raise WebhookRefused("A webhook's address must not hold a user or a password.")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port if parts.port is not None else _PORTS[parts.scheme]


def _host(parts: SplitResult) -> str:
    return parts.netloc.lower()


def _at(parts: SplitResult, address: Address) -> str:
    literal = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 -- IPv6
    return parts._replace(netloc=f"{literal}:{_port(parts)}", fragment="").geturl()


def _is_public(address: Address) -> bool:
    """Whether anybody on the Internet may have it; of an address that holds an IPv4 one, that one counts as well."""
    inner = _inner(address)
    if inner is not None and not _is_public(inner):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: Address) -> Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
