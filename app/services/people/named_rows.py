"""Rows elsewhere that name persons: whoever renames or deletes a person does it there too, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.services.parity import person_rows as comparisons
from app.services.video import person_rows as videos

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor


def rename_person(cursor: Cursor, domain: str, old: str, new: str, paths: Mapping[str, str]) -> None:
    """Let comparisons and videos say the new name.

    :param paths: where the person's images lie now, by where they lay.
    """
    comparisons.rename_person(cursor, domain, old, new, paths)  # first: it keeps others from writing names meanwhile
    videos.rename_person(cursor, domain, old, new, paths)


def forget_person(cursor: Cursor, domain: str, name: str) -> dict[str, int]:
    """Take a person out of comparisons and of what was found in videos; how many rows of what that were."""
    compared = comparisons.forget_person(cursor, domain, name)
    return {"comparisons": compared, "video_identities": videos.forget_person(cursor, domain, name)}
