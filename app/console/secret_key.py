"""The key that signs the console's sessions: made once, and the same in every worker."""

from __future__ import annotations

import secrets
from pathlib import Path

from app.atomic_file import locked, write_atomically
from app.errors import StoreUnavailable

_KEY_BYTES = 48


def kept_secret_key(path: Path) -> str:
    """The key in this file, which is made where there is none yet; readable for its owner alone.

    :raises StoreUnavailable: the file can be neither read nor written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if not path.exists():
                write_atomically(path, secrets.token_urlsafe(_KEY_BYTES).encode(), mode=0o600)
            return path.read_text()
    except OSError as exc:
        raise StoreUnavailable(
            f"The console's key cannot be kept in {path.name} ({exc.strerror}); set CONSOLE_SECRET_KEY.",
            code="console_key_unavailable",
        ) from exc
