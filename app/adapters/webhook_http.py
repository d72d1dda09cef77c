"""Webhooks by HTTP, sent to addresses that are nobody's inside.

A name is resolved once and the connection goes to that very address: asked a second time, DNS could name another one.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

import certifi

from app.errors import WebhookFailed, WebhookRefused

_CONNECT_S, _READ_S = 5.0, 10.0  # the latter for each piece of the answer's head; its body is not read
_LIMIT_S = 20.0
_MAX_URL = 2000
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookSender:
    """Posts webhooks.

    :param allow_private: send also to private, loopback and link-local addresses.
    :param limit_s: for a whole post, from when it is connected.
    """

    def __init__(self, allow_private: bool = False, limit_s: float = _LIMIT_S) -> None:
        self._allow_private = allow_private
        self._limit_s = limit_s

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
        sent = {"User-Agent": "facerec", "Connection": "close"} | dict(headers) | {"Host": _host(parts)}
        status = _posted(parts, self._address(parts), body, sent, self._limit_s)
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise WebhookRefused("The webhook's receiver redirects; name the address itself.")
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
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


class _Limit:
    """Hangs a connection up when its time is over: a limit on each read is none on an answer that comes drop by drop.

    :raises TimeoutError: at the end of the block, where it did; half a head looks like a whole one then.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection.dup()  # TLS takes the other one over
        self._has_passed = False
        self._timer = threading.Timer(seconds, self._hang_up)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        self._connection.close()
        if self._has_passed:
            raise TimeoutError

    def _hang_up(self) -> None:
        self._has_passed = True
        with suppress(OSError):  # the receiver was first
            self._connection.shutdown(socket.SHUT_RDWR)


def _posted(parts: SplitResult, address: Address, body: bytes, headers: Mapping[str, str], limit_s: float) -> int:
    """The status of the answer, whose body is not read."""
    try:
        with socket.create_connection((str(address), _port(parts)), _CONNECT_S) as line, _Limit(line, limit_s):
            return _exchanged(line, parts, body, headers)
    except TimeoutError:
        raise WebhookFailed("The webhook's receiver did not answer in time.") from None
    except ssl.SSLCertVerificationError:
        raise WebhookFailed("The certificate of the webhook's receiver is not valid.") from None
    except (OSError, ValueError, HTTPException):
        raise WebhookFailed("The webhook's receiver cannot be reached.") from None


def _exchanged(line: socket.socket, parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> int:
    host = parts.hostname or ""
    line.settimeout(_READ_S)
    with closing(HTTPConnection(host)) as connection:
        connection.sock = _encrypted(line, host) if parts.scheme == "https" else line
        connection.request("POST", _target(parts), body, headers)
        with connection.getresponse() as answer:
            return answer.status


def _encrypted(line: socket.socket, host: str) -> ssl.SSLSocket:
    """By the certificate of the name behind which the address was found."""
    return ssl.create_default_context(cafile=certifi.where()).wrap_socket(line, server_hostname=host)


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


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


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
