"""Objects in an S3 bucket, or in a store that speaks S3; the one module that imports boto3.

Presigned addresses are not used: they are blocked (CONTRACT, part B). Each process makes a client of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, TypeVar

from app.adapters.bounded_client import BoundedClient
from app.errors import AppError, BadRequest, StartupError, StoreTimeout, StoreUnavailable, TooLarge
from app.services.profiles.photo_keys import PHOTO_FOLDER, is_photo_key
from app.services.profiles.records import OBJECT_FORBIDDEN

_THREADS = 16  # photos at a time
_WAIT_S = 3.0  # to connect, and for each piece of an answer
_CHUNK = 4096  # small, so that a store that sends drop by drop is left soon after the limit
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "AuthorizationHeaderMalformed",
}
_ABSENT = {"NoSuchKey", "404"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class S3Options:
    """A bucket, and how it is reached.

    :param prefix: of the settings that name it, for sentences: `PROFILE_SEARCH_S3` or `VIDEO_S3`.
    :param endpoint_url: of a store that speaks S3; None for Amazon's.
    :param access_key: with `secret_key`; no other source of credentials is asked.
    """

    prefix: str
    bucket: str = field(repr=False)
    region: str = "us-east-1"
    endpoint_url: str | None = field(default=None, repr=False)
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)


class S3Objects:
    """The objects of a bucket; implements `ObjectStore`.

    :param timeout_s: of a call that is not given another limit.
    :raises StartupError: boto3 is not installed.
    """

    def __init__(self, options: S3Options, timeout_s: float = 30.0) -> None:
        if find_spec("boto3") is None:
            raise StartupError(f"{options.prefix}_BUCKET needs boto3: pip install -r requirements.txt")
        self._options = options
        self._timeout_s = timeout_s
        self._client: BoundedClient[Any] = BoundedClient(self._connect, _THREADS, "S3")

    def __repr__(self) -> str:
        return f"S3Objects({self._options.prefix})"

    def get(self, key: str, max_bytes: int | None = None, timeout_s: float | None = None) -> bytes | None:
        """The object, or None where there is none; not more than `max_bytes` of it are read.

        :raises TooLarge: it is larger than that.
        :raises StoreUnavailable: S3 cannot be reached or refuses us (`object_forbidden`: only this object);
            StoreTimeout: it is too slow.
        """
        try:
            return self._call(lambda client, left_s: self._read(client, key, max_bytes, left_s), timeout_s)
        except _Absent:
            return None

    def exists(self, key: str) -> bool:
        """Whether there is such an object.

        :raises StoreUnavailable, StoreTimeout: as of `get`.
        """
        try:
            self._call(lambda client, _left_s: client.head_object(Bucket=self._options.bucket, Key=key))
        except _Absent:
            return False
        return True

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep an object; the same key again replaces it.

        :raises StoreUnavailable, StoreTimeout: as of `get`.
        """
        bucket = self._options.bucket
        self._call(
            lambda client, _left_s: client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type)
        )

    def delete_prefix(self, prefix: str) -> None:
        """Remove every object whose key begins with `prefix` and a `/`.

        :raises StoreUnavailable, StoreTimeout: as of `get`; some may be gone.
        """
        # One by one: a list of them wants a checksum, which not every such store knows.
        with ThreadPoolExecutor(_THREADS) as pool:
            for page in self._pages(f"{prefix}/"):
                list(pool.map(self._delete, [each["Key"] for each in page.get("Contents", [])]))

    def names(self, prefix: str) -> list[str]:
        """What follows `prefix` and a `/` in keys, up to the next `/`, each once.

        :raises StoreUnavailable, StoreTimeout: as of `get`.
        """
        pages = self._pages(f"{prefix}/", Delimiter="/")
        found = (each["Prefix"] for page in pages for each in page.get("CommonPrefixes", []))
        return [name.removeprefix(f"{prefix}/").removesuffix("/") for name in found]

    def count(self, prefix: str) -> int:
        """How many objects have keys that begin with `prefix`.

        :raises StoreUnavailable, StoreTimeout: as of `get`.
        """
        return sum(len(page.get("Contents", [])) for page in self._pages(prefix))

    def close(self) -> None:
        """Close this process's client."""
        self._client.close()

    def _delete(self, key: str) -> None:
        self._call(lambda client, _left_s: client.delete_object(Bucket=self._options.bucket, Key=key))

    def _pages(self, prefix: str, **more: str) -> Iterator[Mapping[str, Any]]:
        asked = {"Bucket": self._options.bucket, "Prefix": prefix} | more
        while True:
            answer: Mapping[str, Any] = self._call(lambda client, _left_s: client.list_objects_v2(**asked))
            yield answer
            if not answer.get("IsTruncated"):
                return
            asked["ContinuationToken"] = answer["NextContinuationToken"]

    def _read(self, client: Any, key: str, max_bytes: int | None, left_s: float) -> bytes:
        deadline = time.monotonic() + left_s
        answer = client.get_object(Bucket=self._options.bucket, Key=key)
        with answer["Body"] as body:
            if max_bytes is not None and answer["ContentLength"] > max_bytes:
                raise TooLarge("The object is larger than allowed.")
            pieces = bytearray()
            while piece := body.read(_CHUNK):
                pieces += piece
                if time.monotonic() > deadline:
                    raise self._client.late()
                if max_bytes is not None and len(pieces) > max_bytes:
                    raise TooLarge("The object is larger than allowed.")
        return bytes(pieces)

    def _call(self, ask: Callable[[Any, float], T], timeout_s: float | None = None) -> T:
        def run(client: Any, left_s: float) -> T:
            with _translated(self._options.prefix):
                return ask(client, left_s)

        return self._client.call(run, self._timeout_s if timeout_s is None else timeout_s)

    def _connect(self) -> Any:
        o = self._options
        if not (o.access_key and o.secret_key):
            raise StoreUnavailable(
                f"{o.prefix}_ACCESS_KEY and {o.prefix}_SECRET_KEY are not set: nothing can be read from S3.",
                code="credentials_missing",
            )
        import boto3
        from botocore.config import Config

        with _translated(o.prefix):
            return boto3.session.Session(o.access_key, o.secret_key, region_name=o.region).client(
                "s3", endpoint_url=o.endpoint_url, config=Config(**_config(o.endpoint_url is not None))
            )


class S3Photos:
    """Photos of profiles in a bucket; implements `ProfilePhotos` and, for the importer, `PhotoWriter`.

    :param max_bytes: a larger photo is none.
    """

    def __init__(self, objects: S3Objects, max_bytes: int) -> None:
        self._objects = objects
        self._max_bytes = max_bytes

    def photo(self, key: str, timeout_s: float) -> bytes | None:
        """The photo; None where there is none, or it is larger than allowed, or the key leads elsewhere.

        :raises StoreUnavailable: S3 cannot be reached, or refuses us; StoreTimeout: it is too slow.
        """
        if not is_photo_key(key):
            return None
        try:
            return self._objects.get(key, self._max_bytes, timeout_s)
        except TooLarge:
            return None

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep a photo.

        :raises BadRequest: the key is none of a photo's; StoreUnavailable, StoreTimeout: as of `photo`.
        """
        if not is_photo_key(key):
            raise BadRequest("That is no key of a profile's photo.", code="invalid_key")
        self._objects.put(key, data, content_type)

    def exists(self, key: str) -> bool:
        """Whether there is such a photo.

        :raises StoreUnavailable, StoreTimeout: as of `photo`.
        """
        return self._objects.exists(key)

    def count(self) -> int:
        """How many photos there are.

        :raises StoreUnavailable, StoreTimeout: as of `photo`.
        """
        return self._objects.count(f"{PHOTO_FOLDER}/")

    def close(self) -> None:
        """Close this process's client."""
        self._objects.close()


class _Absent(Exception):
    """There is no such object."""


def _config(by_path: bool) -> dict[str, Any]:
    return {
        "connect_timeout": _WAIT_S,
        "read_timeout": _WAIT_S,
        "retries": {"total_max_attempts": 1},
        "max_pool_connections": _THREADS,
        # Only Amazon has a host name for each bucket.
        "s3": {"addressing_style": "path" if by_path else "auto"},
        # Checksums that stores other than Amazon's may not know.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "ignore_configured_endpoint_urls": True,  # the settings say where S3 is, not the machine's AWS files
    }


@contextmanager
def _translated(prefix: str) -> Iterator[None]:
    """boto3's failures as ours; nothing of its own sentences, which name hosts and buckets, is passed on."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as exc:
        raise _refused(exc.response, prefix) from None
    except (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError):
        raise StoreTimeout("S3 did not answer within the time limit.") from None
    except (exceptions.BotoCoreError, ValueError):
        raise StoreUnavailable("S3 cannot be reached, or the connection was lost.") from None


def _refused(response: dict[str, Any], prefix: str) -> AppError | _Absent:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _ABSENT:
        return _Absent()
    if code in _CREDENTIALS:
        return StoreUnavailable(f"S3 refused the credentials of {prefix}_ACCESS_KEY.")
    if code == "NoSuchBucket":
        return StoreUnavailable(f"S3 has no bucket of the name {prefix}_BUCKET.")
    if status == 403:  # noqa: PLR2004  # HTTP's
        return StoreUnavailable("S3 does not let us have this object.", code=OBJECT_FORBIDDEN)
    return StoreUnavailable("S3 refused what was asked of it.")
