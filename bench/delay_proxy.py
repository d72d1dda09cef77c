"""Servers that are farther away than they are: whatever a client sends them is held back for a while.

The proxies run in a process of their own, so that they take no time from the client that is measured.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import SynchronizedArray
from types import TracebackType
from typing import Self

Address = tuple[str, int] | str  # host and port, or the path of a Unix socket
Chunks = asyncio.Queue[tuple[float, bytes]]

_PIECE = 1 << 16
_START_S = 60.0


class DelayProxies:
    """A port for each server; a delay is that of a round trip, as answers pass at once.

    :param servers: by a name.
    :ivar ports: by the same name.
    """

    def __init__(self, servers: Mapping[str, Address]) -> None:
        context = multiprocessing.get_context("spawn")
        self._names = list(servers)
        self._delays_s: SynchronizedArray[float] = context.Array("d", len(servers))
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(list(servers.values()), self._delays_s, theirs), daemon=True)
        self._process.start()
        if not ours.poll(_START_S):
            raise TimeoutError("The proxies did not start.")
        self.ports: dict[str, int] = dict(zip(self._names, ours.recv(), strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def set_delays(self, delays_ms: Mapping[str, float]) -> None:
        """From now on; a server that is not named answers at once."""
        for place, name in enumerate(self._names):
            self._delays_s[place] = delays_ms.get(name, 0.0) / 1000


def _run(servers: Sequence[Address], delays_s: SynchronizedArray[float], ports: Connection) -> None:
    asyncio.run(_serve(servers, delays_s, ports))


async def _serve(servers: Sequence[Address], delays_s: SynchronizedArray[float], ports: Connection) -> None:
    listening = [
        await asyncio.start_server(_Proxy(server, delays_s, place).pass_on, "127.0.0.1", 0)
        for place, server in enumerate(servers)
    ]
    ports.send([each.sockets[0].getsockname()[1] for each in listening])
    await asyncio.Event().wait()


class _Proxy:
    """One server's."""

    def __init__(self, server: Address, delays_s: SynchronizedArray[float], place: int) -> None:
        self._server = server
        self._delays_s = delays_s
        self._place = place

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        chunks: Chunks = asyncio.Queue()
        try:
            from_server, to_server = await self._connect()
            sides = (self._hold(reader, chunks), _release(chunks, to_server), _copy(from_server, writer))
            _, unfinished = await asyncio.wait(
                [asyncio.ensure_future(side) for side in sides], return_when=asyncio.FIRST_COMPLETED
            )
            for side in unfinished:
                side.cancel()
            to_server.close()
        except OSError:
            pass  # either side hung up
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._server, str):
            return await asyncio.open_unix_connection(self._server)
        return await asyncio.open_connection(*self._server)

    async def _hold(self, reader: asyncio.StreamReader, chunks: Chunks) -> None:
        """Pieces with the time from which they may pass: those of one message wait together, not one after another."""
        loop = asyncio.get_running_loop()
        while piece := await reader.read(_PIECE):
            chunks.put_nowait((loop.time() + self._delays_s[self._place], piece))
        await chunks.join()


async def _release(chunks: Chunks, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, piece = await chunks.get()
        if (left_s := due - loop.time()) > 0:
            await asyncio.sleep(left_s)
        writer.write(piece)
        await writer.drain()
        chunks.task_done()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
