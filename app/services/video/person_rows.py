"""What was found in videos names persons of the gallery; whoever holds those names in step does it by this."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.services.video import person_sql as sql

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor


def rename_person(cursor: Cursor, domain: str, old: str, new: str, paths: Mapping[str, str]) -> int:
    """Let the matches of every identity say the new name; how many identities that were.

    :param paths: where the person's images lie now, by where they lay.
    """
    cursor.execute(sql.RENAME, _named(domain, old) | {"new": new, "paths": json.dumps(dict(paths))})
    return cursor.rowcount


def forget_person(cursor: Cursor, domain: str, name: str) -> int:
    """Take a person out of the matches of every identity, with name and image; how many identities that were."""
    cursor.execute(sql.FORGET, _named(domain, name))
    return cursor.rowcount


def _named(domain: str, name: str) -> dict[str, Any]:
    return {"domain": domain, "old": name, "named": json.dumps([{"name": name}])}
