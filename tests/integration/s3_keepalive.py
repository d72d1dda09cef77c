"""A small S3 server that keeps its connections alive, as Amazon does and moto_server does not.

It reads and writes objects of one bucket in memory, and produces the faults of single objects. It checks the access key
and no signature, and knows no multipart upload, no versions and no pages of a list.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "profiles"
ACCESS_KEY, SECRET_KEY = "AKIATEST", "very-secret-key"


class KeepAliveS3:
    """A server on a port of its own, which it keeps when it is started again; what it holds stays.

    :ivar objects: by key.
    :ivar forbidden: keys that it refuses.
    :ivar slow_s: seconds before it answers for a key.
    :ivar drop_by_drop: keys whose bytes it sends one at a time, ten in a second.
    :ivar asked: `METHOD key` of each request.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.forbidden: set[str] = set()
        self.slow_s: dict[str, float] = {}
        self.drop_by_drop: set[str] = set()
        self.asked: list[str] = []
        self.port = 0
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer at the port, from now on."""
        self._server = _Server(("127.0.0.1", self.port), _Request)
        self._server.s3 = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection, as a server that dies."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._server = None


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True
    s3: KeepAliveS3

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is none."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body follows its headers at once, and not 40 ms later
    server: _Server

    def do_GET(self) -> None:
        s3, key = self.server.s3, self._admitted()
        if key is None:
            return
        if key == "":
            self._send(200, _listed(s3.objects, self._asked("prefix"), self._asked("delimiter")))
        elif key in s3.objects:
            self._send(200, s3.objects[key], drop_by_drop=key in s3.drop_by_drop)
        else:
            self._refuse(404, "NoSuchKey")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = self._admitted()
        if key is not None:
            self.server.s3.objects[key] = body
            self._send(200, b"")

    def do_DELETE(self) -> None:
        key = self._admitted()
        if key is not None:
            self.server.s3.objects.pop(key, None)
            self._send(204, b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests' output is for failures."""

    def _admitted(self) -> str | None:
        """The key, after the bucket; None where the request was refused."""
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        s3 = self.server.s3
        s3.asked.append(f"{self.command} {key}")
        time.sleep(s3.slow_s.get(key, 0))
        if f"Credential={ACCESS_KEY}/" not in self.headers.get("Authorization", ""):
            self._refuse(403, "InvalidAccessKeyId")
        elif bucket != BUCKET:
            self._refuse(404, "NoSuchBucket")
        elif key in s3.forbidden:
            self._refuse(403, "AccessDenied")
        else:
            return key
        return None

    def _asked(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, f"<Error><Code>{code}</Code><Message>at s3.example</Message></Error>".encode())

    def _send(self, status: int, body: bytes, drop_by_drop: bool = False) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, len(body), 1 if drop_by_drop else len(body) or 1):
            self.wfile.write(body[start : start + 1] if drop_by_drop else body)
            time.sleep(0.1 if drop_by_drop else 0)


def _listed(objects: dict[str, bytes], prefix: str, delimiter: str) -> bytes:
    """The keys, or what they have in common up to the next delimiter."""
    entries, common = "", set[str]()
    for key, body in sorted(objects.items()):
        if key.startswith(prefix):
            head, found, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
            if found:
                common.add(f"{prefix}{head}{found}")
            else:
                entries += f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size></Contents>"
    folders = "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in sorted(common))
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}{folders}</ListBucketResult>".encode()
