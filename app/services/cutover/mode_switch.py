"""Who answers, as it stands in the environment file, and how that is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from app.domain import Mode
from app.errors import AppError, Conflict
from app.services.cutover.environment_file import EnvironmentFile
from app.services.dual_mode import GalleryName


class Standing(StrEnum):
    """Who answers, and who shadows."""

    PKL = "the PKL answers alone"
    DUAL = "the PKL answers, pgvector shadows"
    REVERSE_SHADOW = "pgvector answers, the PKL shadows"
    PGVECTOR = "pgvector answers alone"

    @property
    def pgvector_answers(self) -> bool:
        return self in (Standing.REVERSE_SHADOW, Standing.PGVECTOR)

    @property
    def mode(self) -> Mode:
        """What an answer of `/recognize` names."""
        return {Standing.PKL: Mode.PKL, Standing.PGVECTOR: Mode.PGVECTOR}.get(self, Mode.DUAL)

    @property
    def seen_as(self) -> str:
        """What tells it in an answer: the mode, and in dual mode who answered."""
        if self.mode is not Mode.DUAL:
            return str(self.mode)
        return f"dual, {'pgvector' if self.pgvector_answers else 'pkl'} answers"


VARIABLES: Mapping[Standing, Mapping[str, str]] = {
    Standing.PKL: {"VECTOR_DB_ENABLED": "false"},
    Standing.DUAL: {"VECTOR_DB_ENABLED": "true", "VECTOR_DB_DUAL_MODE": "true", "VECTOR_DB_PRIMARY": "pkl"},
    Standing.REVERSE_SHADOW: {
        "VECTOR_DB_ENABLED": "true",
        "VECTOR_DB_DUAL_MODE": "true",
        "VECTOR_DB_PRIMARY": "pgvector",
    },
    Standing.PGVECTOR: {"VECTOR_DB_ENABLED": "true", "VECTOR_DB_DUAL_MODE": "false"},
}


def standing_of(mode: Mode, primary: GalleryName) -> Standing:
    """Who answers under these settings."""
    if mode is Mode.DUAL:
        return Standing.DUAL if primary == "pkl" else Standing.REVERSE_SHADOW
    return Standing.PKL if mode is Mode.PKL else Standing.PGVECTOR


def switch(file: EnvironmentFile, wanted: Standing, seen: Callable[[], Standing]) -> Path | None:
    """Have the file say who answers.

    :param seen: what the settings say when they are read anew.
    :return: where the file as it was is kept, None where it said so already.
    :raises Conflict: variables of the environment win over the file; it is as it was.
    :raises AppError: what `seen` raises; the file is as it was.
    :raises NotFound, StoreUnavailable: as `EnvironmentFile.set`.
    """
    kept = file.set(VARIABLES[wanted])
    try:
        is_seen = seen() is wanted
    except AppError:  # a service could not start from this file
        if kept:
            file.restore(kept)
        raise
    if not is_seen:
        if kept:
            file.restore(kept)
        names = ", ".join(VARIABLES[wanted])
        raise Conflict(f"This shell's environment wins over the file: unset {names} in it, and try again.")
    return kept


def reload_command(file: EnvironmentFile) -> str:
    """What makes the service take the change over: a reload reads `.env` again, but not its unit's environment."""
    return "systemctl reload facerecweb" if file.path.name == ".env" else "systemctl restart facerecweb"
