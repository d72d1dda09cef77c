"""Where what is made of videos is kept: bytes by key, in a folder or in S3."""

from __future__ import annotations

import re
from typing import Protocol

from app.errors import BadRequest

CROPS = "crops"  # what the keys of all crops begin with

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_KEY = re.compile(rf"{_PART}(/{_PART}){{0,7}}")


class ObjectStore(Protocol):
    """Bytes by key, such as `crops/{job_id}/0/3.jpg`; the same key again replaces."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep `data`: readers see what was there before or all of it.

        :raises BadRequest: the key leads elsewhere.
        :raises StoreUnavailable: it cannot be written; StoreTimeout: too slow.
        """
        ...

    def get(self, key: str) -> bytes | None:
        """What was kept, or None.

        :raises BadRequest, StoreUnavailable, StoreTimeout: as above.
        """
        ...

    def delete_prefix(self, prefix: str) -> None:
        """Remove everything whose key begins with `prefix` and a `/`.

        :raises BadRequest, StoreUnavailable, StoreTimeout: as above.
        """
        ...

    def names(self, prefix: str) -> list[str]:
        """What follows `prefix` and a `/` in keys, up to the next `/`, each once: the folders of a folder.

        :raises BadRequest, StoreUnavailable, StoreTimeout: as above.
        """
        ...


def check_key(key: str) -> str:
    """`key` if it can be one: up to eight names with `/` between, none of which is or begins with a dot.

    :raises BadRequest: it is something else.
    """
    if not _KEY.fullmatch(key):
        raise BadRequest("That is no key of a stored object.", code="invalid_key")
    return key


def crops_prefix(job_id: str) -> str:
    """What the keys of a job's crops begin with."""
    return check_key(f"{CROPS}/{job_id}")


def crop_key(job_id: str, cluster_id: int, position: int) -> str:
    """The key of a crop: the same at each run, so that a job that is run again leaves none behind twice."""
    cluster = str(cluster_id) if cluster_id >= 0 else "outliers"
    return check_key(f"{crops_prefix(job_id)}/{cluster}/{position}.jpg")
