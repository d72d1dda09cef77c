"""Comparisons name persons: whoever renames or deletes a person does it here too, in the same transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.services.parity import parity_sql as sql
from app.services.parity.comparison_rows import DELETED, storable

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor


def rename_person(cursor: Cursor, domain: str, old: str, new: str, paths: Mapping[str, str]) -> int:
    """Let every comparison say the new name; how many rows that were.

    :param paths: where the person's images lie now, by where they lay.
    """
    return _replace(cursor, domain, old, new, paths)


def forget_person(cursor: Cursor, domain: str, name: str) -> int:
    """Take a person's name and images out of every comparison, and delete the probe faces that were kept with them.

    The figures stay: that both galleries agreed, or did not, tells nothing about the person any more.

    :return: how many rows that were.
    """
    cursor.execute(sql.HOLD_NAMES)
    cursor.execute(sql.DELETE_FACES_OF, {"domain": domain, "old": storable(name)})
    return _replace(cursor, domain, name, DELETED, {})


def _replace(cursor: Cursor, domain: str, name: str, new: str, paths: Mapping[str, str]) -> int:
    named = {
        "domain": domain,
        "old": storable(name),
        "new": storable(new),
        "paths": json.dumps({storable(before): storable(after) for before, after in paths.items()}),
    }
    cursor.execute(sql.HOLD_NAMES)
    cursor.execute(sql.RENAME, named)
    return cursor.rowcount
