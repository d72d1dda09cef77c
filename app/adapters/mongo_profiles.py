"""What is known of entities, in MongoDB; the one module that imports pymongo (CONTRACT, part B: `GenericFeatures`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from importlib.util import find_spec
from math import isfinite
from typing import Any, TypeVar

from app.adapters.bounded_client import BoundedClient
from app.errors import StartupError, StoreTimeout, StoreUnavailable
from app.services.profiles.writing import ProfileDocument

_THREADS = 8
_CONNECT_S = 3.0
_WRITE_S = 120.0  # a batch of the importer, the index
_BATCH = 10_000  # documents in the first answer: otherwise all beyond 101 cost a second round trip
_REFUSED = {13, 18, 8000}  # Unauthorized, AuthenticationFailed, and Atlas's word for the latter

T = TypeVar("T")


class MongoProfiles:
    """A collection of documents; implements `ProfileDocuments` and, for the importer, `DocumentWriter`.

    :param uri: `mongodb://` or `mongodb+srv://`; it may hold credentials.
    :raises StartupError: pymongo is not installed.
    """

    def __init__(self, uri: str, db: str, collection: str) -> None:
        if find_spec("pymongo") is None:
            raise StartupError("PROFILE_SEARCH_MONGO_URI needs pymongo: pip install -r requirements.txt")
        self._uri = uri
        self._names = (db, collection)
        self._client: BoundedClient[Any] = BoundedClient(self._connect, _THREADS, "MongoDB")

    def __repr__(self) -> str:
        return "MongoProfiles()"  # the URI may hold a password

    def ping(self, timeout_s: float) -> None:
        """Ask for nothing but an answer, with the rights that a search needs.

        :raises StoreUnavailable: MongoDB is down or refuses us; StoreTimeout: it is too slow.
        """
        self._call(lambda collection: collection.find_one({}, {"_id": 1}), timeout_s)

    def metadata_of(self, entity_ids: Sequence[str], timeout_s: float) -> dict[str, list[Mapping[str, Any]]]:
        """`metadata` of each entity's documents, in one call; values that JSON lacks are written as text.

        :raises StoreUnavailable, StoreTimeout: as of `ping`.
        """
        if not entity_ids:
            return {}
        chosen = {"_entity_id": {"$in": list(entity_ids)}}
        wanted = {"_id": 0, "_entity_id": 1, "metadata": 1}
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in self._call(lambda c: list(c.find(chosen, wanted, batch_size=_BATCH)), timeout_s):
            if isinstance(row.get("metadata"), dict):
                found.setdefault(str(row["_entity_id"]), []).append(_plain(row["metadata"]))
        return found

    def create(self) -> None:
        """Make the index that searches need, unless it is there.

        :raises StoreUnavailable: MongoDB cannot make it.
        """
        self._call(lambda collection: collection.create_index("_entity_id"), _WRITE_S)

    def upsert(self, documents: Sequence[ProfileDocument]) -> None:
        """Add documents, or replace those of the same entity and recognizer.

        :raises StoreUnavailable: it failed, and some of them may have been taken over.
        """
        if documents:
            writes = [_write(document) for document in documents]
            self._call(lambda collection: collection.bulk_write(writes, ordered=False), _WRITE_S)

    def present(self, entity_ids: Sequence[str]) -> set[str]:
        """Those of the entities that have a document.

        :raises StoreUnavailable: MongoDB failed.
        """
        chosen, wanted = {"_entity_id": {"$in": list(entity_ids)}}, {"_id": 0, "_entity_id": 1}
        rows = self._call(lambda c: list(c.find(chosen, wanted, batch_size=_BATCH)), _WRITE_S)
        return {str(row["_entity_id"]) for row in rows}

    def count(self) -> int:
        """How many documents there are, by the collection's own record: after a crash an estimate.

        :raises StoreUnavailable: MongoDB failed.
        """
        return int(self._call(lambda collection: collection.estimated_document_count(), _WRITE_S))

    def close(self) -> None:
        """Close this process's client."""
        self._client.close()

    def _connect(self) -> Any:
        from pymongo import MongoClient

        with _translated():
            return MongoClient(
                self._uri,
                connectTimeoutMS=int(_CONNECT_S * 1000),
                maxPoolSize=_THREADS,
                tz_aware=True,
            )

    def _call(self, ask: Callable[[Any], T], timeout_s: float) -> T:
        def run(client: Any, left_s: float) -> T:
            import pymongo

            db, collection = self._names
            with _translated(), pymongo.timeout(left_s):
                if not client.nodes:  # nobody is connected to: wait for that no longer than it can reasonably take
                    with pymongo.timeout(min(left_s, _CONNECT_S)):
                        client.admin.command("ping")
                return ask(client[db][collection])

        return self._client.call(run, timeout_s)


@contextmanager
def _translated() -> Iterator[None]:
    """pymongo's failures as ours; nothing of its own sentences, which name hosts, is passed on."""
    from pymongo import errors

    try:
        yield
    except errors.OperationFailure as exc:
        raise _refused(exc) from None
    except errors.ServerSelectionTimeoutError:
        raise StoreUnavailable("MongoDB cannot be reached.") from None
    except (errors.ConfigurationError, errors.InvalidName, ValueError):
        raise StoreUnavailable(
            "PROFILE_SEARCH_MONGO_URI, _MONGO_DB or _MONGO_COLLECTION is not right, or the address is unknown."
        ) from None
    except errors.PyMongoError as exc:
        raise _late_or_lost(exc.timeout) from None


def _refused(exc: Any) -> StoreUnavailable:
    if exc.code in _REFUSED:
        return StoreUnavailable("MongoDB refused the credentials of PROFILE_SEARCH_MONGO_URI, or they lack the right.")
    if exc.timeout:
        return _late_or_lost(True)
    return StoreUnavailable(f"MongoDB refused what was asked of it (code {exc.code}).")


def _late_or_lost(is_late: bool) -> StoreUnavailable:
    if is_late:
        return StoreTimeout("MongoDB did not answer within the time limit.")
    return StoreUnavailable("The connection to MongoDB was lost.")


def _write(document: ProfileDocument) -> Any:
    from pymongo import UpdateOne

    now = datetime.now(UTC)
    same = {"_entity_id": document.entity_id, "_recognizer_id": document.recognizer_id}
    changed = {
        "_parent_id": document.parent_id,
        "_group_id": document.group_id,
        "metadata": dict(document.metadata),
        "updated_at": now,
    }
    return UpdateOne(same, {"$set": changed, "$setOnInsert": {"created_at": now}}, upsert=True)


def _plain(value: Any) -> Any:
    """`value` as JSON and Postgres can hold it: dates and ids as text, no NaN, and no NUL, which JSONB refuses."""
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    return str(value).replace("\0", "")
