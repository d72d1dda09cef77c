"""Encrypts what is kept of a probe face, with Fernet (AES-128-CBC and HMAC-SHA256); the only user of `cryptography`."""

from __future__ import annotations

from app.errors import Conflict, StartupError

_MAKE_ONE = "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"


class FaceSeal:
    """Seals and opens bytes with one key.

    :param key: 32 bytes in URL-safe base64.
    :raises StartupError: the key is missing or malformed; the sentence says how one is made and shows no key.
    """

    def __init__(self, key: str | None) -> None:
        from cryptography.fernet import Fernet

        if not key:
            raise StartupError(f"PARITY_KEEP_FACES needs PARITY_KEY; make one: {_MAKE_ONE}")
        try:
            self._fernet = Fernet(key)
        except ValueError:
            raise StartupError(f"PARITY_KEY is not 32 bytes in URL-safe base64; make one: {_MAKE_ONE}") from None

    def seal(self, content: bytes) -> bytes:
        """The content encrypted, to be opened with the same key only."""
        return self._fernet.encrypt(content)

    def open(self, sealed: bytes) -> bytes:
        """The content.

        :raises Conflict: it was sealed with another key, or was changed.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise Conflict("This face was sealed with another PARITY_KEY.", code="wrong_parity_key") from None
