"""Comparisons name persons: whoever renames or deletes a person does it here too, in the same transaction.

Whoever is about to write names that were found a while ago asks here who is gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from app.services.parity import parity_sql as sql
from app.services.parity.comparison_rows import DELETED, storable

if TYPE_CHECKING:
    from app.adapters.postgres import Cursor


KnownElsewhere = Callable[[str, Sequence[str]], set[str]]


def gone_persons(cursor: Cursor, domain: str, names: Sequence[str], known_elsewhere: KnownElsewhere) -> set[str]:
    """Those of the persons who were deleted or renamed since they were found.

    Until the transaction ends nobody else is: whoever does it waits for `NAMES_LOCK`.

    :param known_elsewhere: (domain, names) -> those of the names whom a gallery beside the database knows.
    """
    cursor.execute(sql.SHARE_NAMES)
    cursor.execute(sql.KNOWN, {"domain": domain, "names": [storable(name) for name in names]})
    enrolled = {name for (name,) in cursor.fetchall()}
    unknown = [name for name in names if name not in enrolled]
    return set(unknown) - known_elsewhere(domain, unknown) if unknown else set()


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
