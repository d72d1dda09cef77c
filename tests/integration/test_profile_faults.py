"""Every row of the contract's failure table, produced with the real adapters over sockets."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.adapters.milvus_connection import Milvus
from app.adapters.milvus_profile_writer import MilvusProfileWriter
from app.adapters.milvus_profiles import PROFILES
from app.services.profile_search_service import ProfileSearchService
from app.services.profiles.records import IdentityProbe
from tests.integration.milvus_server import MilvusServer
from tests.integration.mongo_wire import MongoWire
from tests.integration.profile_stores import (
    DIMENSIONS,
    MAX_PHOTO_BYTES,
    Addresses,
    axis,
    document,
    face,
    left_behind,
    load_vendors,
    profile_search,
    refused_port,
    silent_port,
)
from tests.integration.s3_keepalive import SECRET_KEY, KeepAliveS3

ROOT = Path(__file__).parents[2]
PROBES = [IdentityProbe(0, axis(0)), IdentityProbe(1, axis(5))]
PEOPLE = ("ana", "bojan", "cene")
KEYS = {name: f"profile_images/{name}.jpg" for name in PEOPLE}


def photo_of(name: str) -> bytes:
    return b"\xff\xd8\xff photo of " + name.encode()


@pytest.fixture(autouse=True, scope="module")
def loaded() -> None:
    load_vendors()


@pytest.fixture
def wire() -> Iterator[MongoWire]:
    server = MongoWire()
    server.start()
    yield server
    server.listening.set()
    server.stop()


@pytest.fixture
def s3() -> Iterator[KeepAliveS3]:
    server = KeepAliveS3()
    server.objects = {key: photo_of(name) for name, key in KEYS.items()}
    server.start()
    yield server
    server.stop()


@pytest.fixture
def stores(milvus: MilvusServer, wire: MongoWire, s3: KeepAliveS3) -> Addresses:
    """Three persons in all three stores; two of them look like the first identity, the third like nobody."""
    at = Addresses(milvus.uri, wire.uri, s3.url, collection=f"profiles_{uuid.uuid4().hex}")
    with closing(Milvus(milvus.uri, "", PROFILES)) as connection:
        writer = MilvusProfileWriter(connection, at.collection)
        writer.create(DIMENSIONS)
        writer.replace([face("ana", 0), face("bojan", 0, 0.5), face("cene", 3)])
    with closing(at.documents()) as documents:
        documents.upsert([document(name) for name in PEOPLE])
    return at


@pytest.fixture
def make() -> Iterator[Callable[[Addresses], ProfileSearchService]]:
    made: list[ProfileSearchService] = []

    def make(at: Addresses) -> ProfileSearchService:
        made.append(profile_search(at))
        return made[-1]

    yield make
    for service in made:
        service.close()


Make = Callable[[Addresses], ProfileSearchService]


def found(service: ProfileSearchService) -> tuple[str, dict[int, list[str]]]:
    result = service.search_profiles(PROBES)
    return result.status, {
        cluster: [match.entity_id for match in matches] for cluster, matches in result.matches.items()
    }


def eventually(ask: Callable[[], Any], wanted: Any) -> Any:
    """What is answered once the store has been found again; as often as it takes a store to start."""
    for _ in range(100):
        if (answer := ask()) == wanted:
            return answer
        time.sleep(0.1)
    return ask()


ALL = ("ok", {0: ["ana", "bojan"], 1: []})


def test_with_all_stores_up_matches_come_in_order_and_photos_by_their_keys(stores: Addresses, make: Make) -> None:
    service = make(stores)
    assert found(service) == ALL
    assert service.photos(KEYS.values()) == {key: photo_of(name) for name, key in KEYS.items()}
    assert service.health_check()["status"] == "ok"


# --- Milvus or MongoDB down or silent


def down(which: str, port: int, at: Addresses) -> Addresses:
    address = f"mongodb://root:hunter2@127.0.0.1:{port}" if which == "mongo" else f"http://127.0.0.1:{port}"
    return replace(at, **{which: address})


@pytest.mark.parametrize("how", ["refused", "silent"])
@pytest.mark.parametrize("which", ["milvus", "mongo"])
def test_a_search_with_a_store_away_says_that_it_failed_and_no_word_of_it_names_a_host_or_a_credential(
    which: str, how: str, stores: Addresses, make: Make
) -> None:
    with silent_port() as silent, capture_logs() as logs:
        address = down(which, silent if how == "silent" else refused_port(), stores)
        with left_behind():
            service = make(address)
        with left_behind():
            result = service.search_profiles(PROBES)
        with left_behind():
            health = service.health_check()
    assert (result.status, result.matches) == ("failed", {})
    assert health["status"] == "off"
    assert ("MongoDB" if which == "mongo" else "Milvus") in health["reason"]
    told = f"{result} {health} {logs} {service!r}"
    assert not any(word in told for word in ("127.0.0.1", str(silent), "hunter2", SECRET_KEY))


def test_mongodb_that_dies_between_two_searches_is_found_again_when_it_is_back(
    stores: Addresses, make: Make, wire: MongoWire
) -> None:
    service = make(stores)
    assert found(service) == ALL
    wire.stop()
    assert [found(service)[0] for _ in range(5)] == ["failed"] * 5
    wire.start()
    assert eventually(lambda: found(service), ALL) == ALL


def test_mongodb_that_hangs_fails_the_search_and_answers_the_next_ones_when_it_goes_on(
    stores: Addresses, make: Make, wire: MongoWire
) -> None:
    service = make(stores)
    assert found(service) == ALL
    wire.listening.clear()
    assert found(service)[0] == "failed"
    wire.listening.set()
    assert eventually(lambda: found(service), ALL) == ALL


def test_milvus_that_dies_between_two_searches_is_found_again_when_it_is_back(
    stores: Addresses, make: Make, milvus: MilvusServer
) -> None:
    service = make(stores)
    assert found(service) == ALL
    milvus.kill()
    try:
        assert [found(service)[0] for _ in range(5)] == ["failed"] * 5
    finally:
        milvus.start()
    assert eventually(lambda: found(service), ALL) == ALL


def test_milvus_that_hangs_fails_the_search_and_answers_the_next_ones_when_it_goes_on(
    stores: Addresses, make: Make, milvus: MilvusServer
) -> None:
    service = make(stores)
    assert found(service) == ALL
    with milvus.hanging():
        assert found(service)[0] == "failed"
    assert eventually(lambda: found(service), ALL) == ALL


def test_a_store_that_is_being_spared_is_not_asked(stores: Addresses, wire: MongoWire) -> None:
    with closing(profile_search(stores, pause_s=3600)) as service:
        wire.refusal = 18
        assert [found(service)[0] for _ in range(3)] == ["failed"] * 3
        wire.asked.clear()
        assert [found(service)[0] for _ in range(10)] == ["failed"] * 10
        assert wire.asked.total() == 0
        assert "left alone" in str(service.search_profiles(PROBES).reason)


# --- photos


def test_a_photo_that_is_missing_forbidden_slow_or_too_large_is_left_out_and_the_others_come(
    stores: Addresses, make: Make, s3: KeepAliveS3
) -> None:
    service = make(stores)
    faulty = {name: f"profile_images/{name}.jpg" for name in ("forbidden", "slow", "drops", "large")}
    s3.objects |= dict.fromkeys(faulty.values(), photo_of("x" * 100))
    s3.objects[faulty["large"]] = photo_of("x" * MAX_PHOTO_BYTES)
    s3.forbidden.add(faulty["forbidden"])
    s3.slow_s[faulty["slow"]] = 10.0
    s3.drop_by_drop.add(faulty["drops"])
    photos = service.photos([*faulty.values(), "profile_images/missing.jpg", *KEYS.values()])
    s3.drop_by_drop.clear()
    assert sorted(photos) == sorted(KEYS.values())
    assert found(service) == ALL


@pytest.mark.parametrize("how", ["credentials", "refused", "silent"])
def test_without_s3_the_metadata_is_there_and_the_photos_are_not(how: str, stores: Addresses, make: Make) -> None:
    with silent_port() as silent, capture_logs() as logs:
        address = {"credentials": stores.s3, "refused": f"http://127.0.0.1:{refused_port()}"}
        at = replace(stores, s3=address.get(how, f"http://127.0.0.1:{silent}"))
        service = make(replace(at, access_key=None) if how == "credentials" else at)
        with left_behind():
            photos, search, health = service.photos(KEYS.values()), found(service), service.health_check()
    assert (photos, search) == ({}, ALL)
    assert health["status"] == "degraded"
    assert "S3" in health["reason"] or "photos" in health["reason"]
    assert not any(word in f"{health} {logs}" for word in ("127.0.0.1", SECRET_KEY))


def test_missing_credentials_are_named_by_their_settings(stores: Addresses, make: Make, s3: KeepAliveS3) -> None:
    service = make(replace(stores, access_key=None))
    service.photos(KEYS.values())
    assert "PROFILE_SEARCH_S3_ACCESS_KEY" in service.health_check()["reason"]
    assert s3.asked == []


def test_photos_come_again_when_s3_is_back(stores: Addresses, make: Make, s3: KeepAliveS3) -> None:
    service = make(stores)
    all_three = service.photos(KEYS.values())
    assert len(all_three) == 3
    s3.stop()
    assert service.photos(KEYS.values()) == {}
    s3.start()
    assert eventually(lambda: service.photos(KEYS.values()), all_three) == all_three


# --- the start


def test_a_service_that_started_while_its_stores_were_down_searches_once_they_are_up(
    stores: Addresses, make: Make, wire: MongoWire
) -> None:
    wire.stop()
    service = make(stores)
    assert service.health_check()["status"] == "off"
    wire.start()
    assert eventually(lambda: found(service), ALL) == ALL


STARTED = """
import socket, sys

def refuse(*arguments, **keywords):
    raise AssertionError("a connection was opened")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from tests.integration.profile_stores import Addresses, profile_search

profile_search(Addresses("http://192.0.2.1:19530", "mongodb://192.0.2.1", "http://192.0.2.1"))
print(*sorted({m.split('.')[0] for m in sys.modules}))
"""


def test_making_profile_search_connects_to_nothing_and_loads_no_vendors_package() -> None:
    run = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"pymilvus", "grpc", "pymongo", "bson", "boto3", "botocore"} & set(run.stdout.split())
