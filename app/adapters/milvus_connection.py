"""Connections to Milvus that keep their limits; the one module that imports pymilvus.

Three things of pymilvus are dealt with here. A client must not cross a fork, so each process makes its own. Its calls
raise `grpc.RpcError` beside `MilvusException`. And between its retries it sleeps without regard for its time limit, so
a call runs in a thread that the caller leaves behind at the limit.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, TypeVar

from app.errors import AppError, StartupError, StoreTimeout, StoreUnavailable

_THREADS = 8  # calls at a time; further ones wait, within their limits
_CONNECT_S = 3.0
# pymilvus pings every 10 s, calls or none; a server that did not allow for it hangs up on so busy a client
# ("too_many_pings", gRPC's guide to keepalive): only while something is asked, and less often.
_KEEPALIVE = {"grpc.keepalive_time_ms": 60_000, "grpc.keepalive_permit_without_calls": False}
_UNKNOWN_COLLECTION = {1, 100}  # of Milvus 2.2 and older, and of newer ones
_DENIED = {1400, 1401, 1800}  # no such user, wrong password, no right

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MilvusUse:
    """What a Milvus is used for, as its failures name it to an operator.

    :param switch: the setting that asks for Milvus.
    :param token_setting: the setting that holds the token.
    :param no_collection: the sentence where the collection is missing, and `no_collection_code` its code.
    """

    switch: str
    token_setting: str
    no_collection: str
    no_collection_code: str


GALLERY = MilvusUse(
    switch="GALLERY_BACKEND=milvus",
    token_setting="GALLERY_MILVUS_TOKEN",  # noqa: S106  # the setting's name
    no_collection="Milvus has no collection for this gallery: run `python -m scripts.sync_milvus`.",
    no_collection_code="gallery_not_synced",
)


@dataclass
class _Connection:
    """What one process has."""

    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "milvus"))
    connecting: threading.Lock = field(default_factory=threading.Lock)
    client: Any = None
    loaded: set[str] = field(default_factory=set)


class Milvus:
    """One Milvus; it is connected to when first used, and anew in each process.

    :param uri: `http(s)://host:port`, or the path of a Milvus Lite file that ends in `.db`; it may hold credentials.
    :param token: `user:password` or an API key; empty for none.
    :raises StartupError: pymilvus is not installed.
    """

    def __init__(self, uri: str, token: str, use: MilvusUse = GALLERY) -> None:
        if find_spec("pymilvus") is None:
            raise StartupError(f"{use.switch} needs pymilvus: pip install -r requirements.txt")
        self._use = use
        self._uri = uri
        self._token = token
        self._connections: dict[int, _Connection] = {}

    def __repr__(self) -> str:
        return "Milvus()"  # the URI may hold a password

    def call(self, ask: Callable[[Any, float], T], timeout_s: float, loaded: str | None = None) -> T:
        """What `ask` returns, which is given a `MilvusClient` and the seconds that are left.

        :param loaded: a collection that must be in Milvus's memory for it.
        :raises StoreUnavailable: Milvus is down, refuses us, or lacks the collection; StoreTimeout: it is too slow.
        """
        connection, deadline = self._connection(), time.monotonic() + timeout_s

        def run() -> T:
            client = self._client(connection, deadline)
            if loaded is not None and loaded not in connection.loaded:
                client.load_collection(loaded, timeout=_left(deadline))
                connection.loaded.add(loaded)
            return ask(client, _left(deadline))

        future = connection.pool.submit(run)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise _late() from None
        except _failures() as exc:
            connection.loaded.clear()  # a server that was restarted may have to load them again
            raise _refused(exc, time.monotonic() >= deadline, self._use) from exc

    def close(self) -> None:
        """Close this process's client."""
        connection = self._connections.pop(os.getpid(), None)
        if connection is not None:
            connection.pool.shutdown(wait=False, cancel_futures=True)
            if connection.client is not None:
                connection.client.close()

    def _client(self, connection: _Connection, deadline: float) -> Any:
        if connection.client is not None:
            return connection.client
        if not connection.connecting.acquire(timeout=_left(deadline)):
            raise _late()
        try:
            if connection.client is None:
                connection.client = self._connect(min(_CONNECT_S, _left(deadline)))
            return connection.client
        finally:
            connection.connecting.release()

    def _connect(self, timeout_s: float) -> Any:
        # Dedicated: pymilvus would hand a forked child the connection of its parent.
        return _pymilvus().MilvusClient(
            self._uri, token=self._token, timeout=timeout_s, dedicated=True, grpc_options=_KEEPALIVE
        )

    def _connection(self) -> _Connection:
        pid = os.getpid()
        return self._connections.get(pid) or self._connections.setdefault(pid, _Connection())


def field_types() -> Any:
    """pymilvus's names of the types that a field can have."""
    return _pymilvus().DataType


def _left(deadline: float) -> float:
    """:raises StoreTimeout: nothing is left."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise _late()
    return left_s


def _pymilvus() -> Any:
    """pymilvus, told not to log failures itself: it would log each with the stack and what was asked.

    So would gRPC, for each method that Milvus Lite lacks, where that runs in this process.
    """
    import pymilvus

    for name in ("pymilvus", "grpc._server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return pymilvus


def _failures() -> tuple[type[Exception], ...]:
    import grpc

    return (_pymilvus().MilvusException, grpc.RpcError)


def _late() -> StoreTimeout:
    return StoreTimeout("Milvus did not answer within the time limit.")


def _refused(exc: Exception, is_late: bool, use: MilvusUse) -> AppError:
    """What a failure means; no host, token or value of Milvus's own sentence is passed on."""
    code = getattr(exc, "code", None)
    if is_late or "DEADLINE_EXCEEDED" in str(exc):
        return _late()
    if code in _UNKNOWN_COLLECTION and "not" in str(exc) and "collection" in str(exc).lower():
        return StoreUnavailable(use.no_collection, code=use.no_collection_code)
    if code in _DENIED or "UNAUTHENTICATED" in str(exc):
        return StoreUnavailable(f"Milvus refused the {use.token_setting}.")
    return StoreUnavailable("Milvus cannot be reached, or refused what was asked of it.")
