"""Webhooks over real sockets: what a receiver gets, and where none is ever sent."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.adapters.postgres import Database
from app.adapters.webhook_http import WebhookSender
from app.errors import StoreUnavailable, WebhookFailed, WebhookRefused
from app.services.video.job_records import JobScope, JobState
from app.services.video.job_store import JobStore
from app.services.video.webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, WebhookDelivery, signature
from app.services.video.webhook_store import WebhookStore
from tests.integration.test_video_jobs import added, claimed

SECRET = "a secret of both sides"


@dataclass
class Receiver:
    """A server on this machine that notes what it gets.

    :param answers: its statuses, one after another; the last one again and again.
    """

    port: int = 0
    answers: list[int] = field(default_factory=lambda: [200])
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as noted:
        yield noted


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    noted = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            noted.got.append((self.path, dict(self.headers), body))
            self.send_response(noted.answers.pop(0) if len(noted.answers) > 1 else noted.answers[0])
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    noted.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield noted
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def dripping(first: bytes) -> Iterator[tuple[int, threading.Event]]:
    """A server that sends this at once, then ten bytes a second for ten seconds, and then a whole head.

    :return: its port, and what is set where its client hangs up before.
    """
    left = threading.Event()

    def drip(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            client.recv(65536)
            client.sendall(first)
            try:
                for _ in range(100):
                    time.sleep(0.1)
                    client.sendall(b"X")
                client.sendall(b": 1\r\n\r\n")
            except OSError:
                left.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        yield server.getsockname()[1], left
        thread.join()


@pytest.fixture
def jobs(migrated_database: Database) -> JobStore:
    return JobStore(migrated_database)


def ended_job(jobs: JobStore, url: str, state: JobState = JobState.DONE) -> str:
    added(jobs, "one", webhook_url=url)
    jobs.finish(claimed(jobs, 1), state)
    return "one"


def delivery(jobs: JobStore, *, allow_private: bool = True) -> WebhookDelivery:
    return WebhookDelivery(WebhookStore(jobs.database), WebhookSender(allow_private), SECRET)


def state_of(jobs: JobStore) -> str | None:
    return jobs.get(JobScope("a", None), "one").webhook_state


def test_the_receiver_gets_a_signed_message_once(jobs: JobStore, receiver: Receiver) -> None:
    job_id = ended_job(jobs, receiver.url)
    delivery(jobs).deliver(job_id)
    delivery(jobs).deliver(job_id)
    ((path, headers, body),) = receiver.got
    assert path == "/hook?x=1"
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    expected = signature(SECRET, headers[TIMESTAMP_HEADER], body)
    assert headers[SIGNATURE_HEADER] == f"sha256={expected}"
    assert b'"state": "done"' in body
    assert b'"results_url": "/v3/results/one"' in body
    assert state_of(jobs) == "delivered"


def test_a_job_that_failed_is_told_too(jobs: JobStore, receiver: Receiver) -> None:
    delivery(jobs).deliver(ended_job(jobs, receiver.url, JobState.FAILED))
    assert b'"state": "failed"' in receiver.got[0][2]


def test_a_receiver_that_fails_is_told_again_later_and_later(jobs: JobStore, receiver: Receiver) -> None:
    receiver.answers = [500, 599, 200]
    job_id = ended_job(jobs, receiver.url)
    assert [delivery(jobs).deliver(job_id) for _ in range(2)] == [10, 40]
    assert state_of(jobs) == "waiting"
    assert delivery(jobs).deliver(job_id) is None
    assert state_of(jobs) == "delivered"


def test_after_ten_attempts_within_a_day_it_has_failed(jobs: JobStore, receiver: Receiver) -> None:
    receiver.answers = [404]
    job_id = ended_job(jobs, receiver.url)
    waits = [delivery(jobs).deliver(job_id) for _ in range(10)]
    assert waits[-1] is None
    assert sum(wait or 0 for wait in waits) <= 24 * 3600
    assert (len(receiver.got), state_of(jobs)) == (10, "failed")


def test_while_the_database_is_away_no_attempt_is_used_up(jobs: JobStore, receiver: Receiver) -> None:
    receiver.answers = [500]
    job_id = ended_job(jobs, receiver.url)
    away = JobStore(Database("postgresql://nobody@127.0.0.1:1/none"))
    for _ in range(12):
        with pytest.raises(StoreUnavailable):
            delivery(away).deliver(job_id)
    assert delivery(jobs).deliver(job_id) == 10


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 "])
def test_a_receiver_that_answers_drop_by_drop_is_left_at_the_limit(begun: bytes) -> None:
    with dripping(begun) as (port, left):
        with pytest.raises(WebhookFailed, match="in time"):
            WebhookSender(allow_private=True, limit_s=0.5).post(f"http://127.0.0.1:{port}/", b"{}", {})
        assert left.wait(30)


def test_a_receiver_that_never_ends_the_handshake_is_left_at_the_limit() -> None:
    with dripping(b"\x16\x03\x03\x3f\xff") as (port, left):
        with pytest.raises(WebhookFailed, match="in time"):
            WebhookSender(allow_private=True, limit_s=0.5).post(f"https://127.0.0.1:{port}/", b"{}", {})
        assert left.wait(30)


def test_a_redirect_is_not_followed(jobs: JobStore, receiver: Receiver) -> None:
    receiver.answers = [302]
    delivery(jobs).deliver(ended_job(jobs, receiver.url))
    assert len(receiver.got) == 1
    assert state_of(jobs) == "failed"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "10.0.0.1", "0"]
)
def test_private_addresses_are_refused_and_never_connected_to(receiver: Receiver, host: str) -> None:
    with pytest.raises((WebhookRefused, WebhookFailed)) as refused:
        WebhookSender().post(f"http://{host}:{receiver.port}/", b"{}", {})
    assert receiver.got == []
    assert "127" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *("fe80::1", "fc00::1", "ff02::1", "::ffff:192.168.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::"),
    ],
)
def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    _resolve(monkeypatch, "198.41.0.4", address)
    with pytest.raises(WebhookRefused):
        WebhookSender().post("https://hooks.example.org/", b"{}", {})


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    asked = _resolve(monkeypatch, "127.0.0.1")
    WebhookSender(allow_private=True).post(f"http://hooks.example.org:{receiver.port}/", b"{}", {})
    assert receiver.got[0][1]["Host"] == f"hooks.example.org:{receiver.port}"
    assert asked == ["hooks.example.org"]


def test_the_certificate_must_be_the_names_behind_which_the_address_was_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _resolve(monkeypatch, "127.0.0.1")
    certificate = _certificate(tmp_path, "hooks.example.org")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    asked: list[str | None] = []
    tls.sni_callback = lambda _, name, __: asked.append(name)
    with listening(tls) as receiver:
        with pytest.raises(WebhookFailed, match="certificate"):
            WebhookSender(allow_private=True).post(f"https://hooks.example.org:{receiver.port}/", b"{}", {})
        monkeypatch.setattr("certifi.where", lambda: str(certificate))
        WebhookSender(allow_private=True).post(f"https://hooks.example.org:{receiver.port}/", b"{}", {})
        with pytest.raises(WebhookFailed, match="certificate"):
            WebhookSender(allow_private=True).post(f"https://other.example.org:{receiver.port}/", b"{}", {})
    assert len(receiver.got) == 1
    assert asked == ["hooks.example.org", "hooks.example.org", "other.example.org"]


def test_a_proxy_of_the_environment_is_passed_over(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    WebhookSender(allow_private=True).post(receiver.url, b"{}", {})
    assert len(receiver.got) == 1


def _resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Have DNS give these for any name; the names that were asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *rest: int, **more: int) -> list[tuple[object, ...]]:
        if not host[0].isdigit() and ":" not in host:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]
        return real(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def _certificate(folder: Path, name: str) -> Path:
    """A key and a certificate for this name, which vouches for itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path, kinds = folder / "certificate.pem", serialization
    private = key.private_bytes(kinds.Encoding.PEM, kinds.PrivateFormat.PKCS8, kinds.NoEncryption())
    path.write_bytes(private + built.public_bytes(kinds.Encoding.PEM))
    return path
