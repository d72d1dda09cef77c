"""Is a port free, and who has it."""

from __future__ import annotations

import socket

import psutil

from app.errors import StartupError

TRIES = 20


def choose_port(host: str, port: int, fixed: bool) -> int:
    """`port`, or the next free one where the user did not fix it.

    :raises StartupError: the fixed port, or every one of the next twenty, is taken.
    """
    if _is_free(host, port):
        return port
    free = None if fixed else next((p for p in range(port + 1, port + TRIES) if _is_free(host, p)), None)
    if free is None:
        raise StartupError(f"Port {port} is taken by {_holder(port)}; stop it or set PORT to another.")
    return free


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return "another process"
