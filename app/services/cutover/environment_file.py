"""Changes variables of a service's environment file and nothing else in it."""

from __future__ import annotations

import io
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from dotenv import dotenv_values

from app.errors import Conflict, NotFound, StoreUnavailable


class EnvironmentFile:
    """A `.env`, or the file that a unit's EnvironmentFile= names.

    :param path: of a link, the file that it leads to is changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def require(self) -> None:
        """:raises NotFound: there is no such file."""
        if not self.path.is_file():
            raise NotFound(f"There is no file {self.path}: name the service's environment file with --env-file.")

    def set(self, variables: Mapping[str, str]) -> Path | None:
        """Give variables other values; comments, order, owner and permissions stay.

        :return: where the file as it was is kept, or None where nothing had to be changed.
        :raises NotFound: there is no such file.
        :raises Conflict: it is written in a way in which a change could touch other variables too.
        :raises StoreUnavailable: it cannot be read or written; it is as it was.
        """
        self.require()
        try:
            before = self.path.read_bytes().decode("utf-8", "surrogateescape")
            after = _changed(before, variables)
            _require_only(variables, before, after)
            return None if after == before else self._replace(after.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} cannot be changed: {error.strerror}. Run this as its owner, or as root."
            ) from error

    def restore(self, kept: Path) -> None:
        """Put the file back as it was.

        :param kept: of `set`.
        """
        kept.replace(self.path)

    def _replace(self, content: bytes) -> Path:
        """The old file keeps its place under another name; a reader sees the old one or the new one."""
        before = self.path.stat()
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _own_as(descriptor, before)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            kept = self.path.with_name(f"{self.path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.bak")
            os.link(self.path, kept)
            temporary.replace(self.path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return kept


def _own_as(descriptor: int, other: os.stat_result) -> None:
    """Owner, group and permissions of another file: what the service could read it can read on."""
    if (os.fstat(descriptor).st_uid, os.fstat(descriptor).st_gid) != (other.st_uid, other.st_gid):
        os.fchown(descriptor, other.st_uid, other.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(other.st_mode))


def _changed(text: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        text = _with(text, name, value)
    return text


def _with(text: str, name: str, value: str) -> str:
    """The text with the variable set where it is set, or below the comment that describes it, or at the end."""
    assigned = re.compile(rf"(?im)^([ \t]*(?:export[ \t]+)?{name}[ \t]*=[ \t]*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s#]*)")
    changed, count = assigned.subn(lambda found: found[1] + value, text)
    if count:
        return changed
    described = re.search(rf"(?im)^[ \t]*#[ \t]*{name}[ \t]*=[^\n]*$", text)
    if described:
        return f"{text[: described.end()]}\n{name}={value}{text[described.end() :]}"
    separator = "" if text.endswith("\n") or not text else "\n"
    return f"{text}{separator}{name}={value}\n"


def _require_only(variables: Mapping[str, str], before: str, after: str) -> None:
    """Read both texts as the service does, and see that nothing but these variables differs.

    :raises Conflict: something else does, such as a line within a value of several lines.
    """
    wanted = {name.lower(): value for name, value in variables.items()}
    if _values(after) != _values(before) | wanted:
        raise Conflict(f"The file cannot be changed safely: set {', '.join(variables)} in it by hand.")


def _values(text: str) -> dict[str, str | None]:
    found = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name.lower(): value for name, value in found.items()}
