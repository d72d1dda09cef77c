"""A small server that speaks MongoDB's wire protocol (OP_MSG) over a socket, with mongomock behind it.

What it is not: a MongoDB. It has no authentication (it can refuse everything, as a server does), no TLS, no query
planner, no transactions and one database engine in memory. It proves what pymongo sends and how it takes answers, lost
connections and silence. With MONGO_TEST_URI set, the tests of what is stored and found run against a real one.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import bson
import mongomock

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HELLO = {
    "ismaster": True,
    "helloOk": True,
    "isWritablePrimary": True,
    "maxBsonObjectSize": 16 * 1024 * 1024,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "readOnly": False,
    "ok": 1.0,
}


class MongoWire:
    """A server on a port of its own, which it keeps when it is started again; what it holds stays.

    :ivar asked: how often each command came.
    :ivar refusal: a code, such as 18, with which everything but the greeting is refused; 0 for none.
    :ivar listening: while it is clear, what comes is read and nothing is answered.
    """

    def __init__(self) -> None:
        self._databases: Any = mongomock.MongoClient()
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.refusal = 0
        self.listening = threading.Event()
        self.listening.set()

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def start(self) -> None:
        """Answer at the port, from now on."""
        self._server = _Server(("127.0.0.1", self.port), _Conversation)
        self._server.wire = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection, as a server that dies."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._server = None

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        if name.lower() in ("hello", "ismaster"):
            return HELLO
        self.asked[name] += 1
        if self.refusal:
            return {"ok": 0.0, "code": self.refusal, "codeName": "Refused", "errmsg": "not for user root at db.example"}
        with self._lock:
            return {"ok": 1.0} | self._done(name, command)

    def _done(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        collection = self._databases[command["$db"]][str(command[name])]
        if name == "find":
            rows = list(
                collection.find(command.get("filter"), command.get("projection")).limit(command.get("limit", 0))
            )
            return {"cursor": {"id": 0, "ns": f"{command['$db']}.{collection.name}", "firstBatch": rows}}
        if name == "count":
            return {"n": collection.count_documents(command.get("query", {}))}
        if name == "update":
            return self._updated(collection, command["updates"])
        if name == "dropDatabase":
            self._databases.drop_database(command["$db"])
        elif name == "createIndexes":
            for index in command["indexes"]:
                collection.create_index(list(index["key"].items()), name=index["name"])
        return {}

    def _updated(self, collection: Any, updates: list[dict[str, Any]]) -> dict[str, Any]:
        upserted = []
        for position, update in enumerate(updates):
            result = collection.update_one(update["q"], update["u"], upsert=update.get("upsert", False))
            if result.upserted_id is not None:
                upserted.append({"index": position, "_id": result.upserted_id})
        return {"n": len(updates), "nModified": len(updates) - len(upserted), "upserted": upserted}


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    wire: MongoWire

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


class _Conversation(socketserver.StreamRequestHandler):
    """One connection: messages in, answers out."""

    server: _Server

    def handle(self) -> None:
        with suppress(ConnectionError, OSError, ValueError):
            while header := self.rfile.read(16):
                length, request_id, _, opcode = struct.unpack("<iiii", header)
                body = self.rfile.read(length - 16)
                self.server.wire.listening.wait()
                command = _command(body) if opcode == OP_MSG else _legacy_command(body)
                self._send(opcode, request_id, bson.encode(self.server.wire.answer(command)))

    def _send(self, opcode: int, request_id: int, document: bytes) -> None:
        if opcode == OP_MSG:
            body, kind = struct.pack("<IB", 0, 0) + document, OP_MSG
        else:
            body, kind = struct.pack("<iqii", 8, 0, 0, 1) + document, OP_REPLY
        self.wfile.write(struct.pack("<iiii", 16 + len(body), 0, request_id, kind) + body)


def _command(body: bytes) -> dict[str, Any]:
    """The command of an OP_MSG, with its sequences of documents under their names."""
    command: dict[str, Any] = {}
    at = 4
    while at < len(body):
        kind, at = body[at], at + 1
        (length,) = struct.unpack_from("<i", body, at)
        if kind == 0:
            command = bson.decode(body[at : at + length]) | command
        else:
            name_end = body.index(0, at + 4)
            name = body[at + 4 : name_end].decode()
            command[name] = bson.decode_all(body[name_end + 1 : at + length])
        at += length
    return command


def _legacy_command(body: bytes) -> dict[str, Any]:
    """The command of an OP_QUERY, with which a client greets: after flags, a name, and two numbers."""
    start = body.index(0, 4) + 1 + 8
    (length,) = struct.unpack_from("<i", body, start)
    return bson.decode(body[start : start + length])
