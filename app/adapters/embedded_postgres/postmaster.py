"""What the file `postmaster.pid` in a data folder says about the server, and whether it is still true."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PID_FILE = "postmaster.pid"


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The server that wrote the file; it may be dead by now."""

    pid: int
    pgdata: str
    port: int
    socket_folder: str
    status: str

    @classmethod
    def read(cls, pgdata: Path) -> Postmaster | None:
        """None where no server left a complete file, or none that this user may read."""
        try:
            lines = (pgdata / PID_FILE).read_text().splitlines()
            return cls(int(lines[0]), lines[1], int(lines[3]), lines[4], status="".join(lines[7:8]).strip())
        except (OSError, IndexError, ValueError):
            return None

    @property
    def url(self) -> str:
        """As libpq reads it, with the port spelled out lest PGPORT change it."""
        return f"postgresql://postgres@/postgres?host={quote(self.socket_folder, safe='')}&port={self.port}"

    def listens(self) -> bool:
        """Whether a server accepts connections; unlike a pid, this holds across containers that share the folder."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(f"{self.socket_folder}/.s.PGSQL.{self.port}")
            except (TimeoutError, BlockingIOError):
                return True  # there, but its backlog is full
            except OSError:
                return False
        return True

    def in_transit(self) -> bool:
        """Whether the server is just starting or just ending."""
        return self.status != "ready" if self.listens() else self._is_postgres()

    def pid_is_alive(self) -> bool:
        """Whether any process has the pid, a stranger's included."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _is_postgres(self) -> bool:
        if not Path("/proc/self").exists():
            return self.pid_is_alive()
        try:
            command_line = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False
        return os.fsencode(self.pgdata) in command_line.split(b"\0")
