"""Milvus, MongoDB and S3 as profile search uses them, each over a socket."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from app.adapters.milvus_connection import Milvus
from app.adapters.milvus_profile_writer import MilvusProfileWriter
from app.adapters.milvus_profiles import PROFILES, MilvusProfiles
from app.adapters.mongo_profiles import MongoProfiles
from app.adapters.s3_objects import S3Objects, S3Options, S3Photos
from app.errors import BadRequest, StoreTimeout, StoreUnavailable, TooLarge
from app.services.profiles.writing import ProfileDocument
from tests.integration.milvus_server import MilvusServer
from tests.integration.mongo_wire import MongoWire
from tests.integration.profile_stores import (
    DIMENSIONS,
    MAX_PHOTO_BYTES,
    MONGO_NAMES,
    Addresses,
    axis,
    document,
    face,
    left_behind,
    load_vendors,
    refused_port,
    silent_port,
)
from tests.integration.s3_keepalive import ACCESS_KEY, BUCKET, SECRET_KEY, KeepAliveS3

ROOT = Path(__file__).parents[2]


# --- Milvus


@pytest.fixture
def at(milvus: MilvusServer) -> Addresses:
    return Addresses(milvus.uri, "", "", collection=f"profiles_{uuid.uuid4().hex}")


@pytest.fixture
def vectors(at: Addresses) -> Iterator[MilvusProfiles]:
    with closing(at.vectors()) as profiles:
        yield profiles


@pytest.fixture
def writer(at: Addresses) -> Iterator[MilvusProfileWriter]:
    """Over an empty collection."""
    with closing(Milvus(at.milvus, "", PROFILES)) as milvus:
        made = MilvusProfileWriter(milvus, at.collection)
        made.create(DIMENSIONS)
        yield made


def test_all_probes_are_answered_in_one_call_each_entity_once_and_best_first(
    vectors: MilvusProfiles, writer: MilvusProfileWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.replace([face("ana", 0), face("ana", 0, 0.1), face("bojan", 0, 0.5), face("cene", 3), face("dora", 3, 2)])
    calls: list[float] = []
    monkeypatch.setattr(vectors, "_call", lambda ask, s, call=vectors._call: calls.append(s) or call(ask, s))
    found = vectors.nearest(np.stack([axis(0), axis(3)]), 2, 10)
    assert len(calls) == 1
    assert [[hit.entity_id for hit in hits] for hits in found] == [["ana", "bojan"], ["cene", "dora"]]
    assert [round(hit.similarity, 4) for hit in found[0]] == [1.0, round(1 / np.sqrt(1.25), 4)]
    assert vectors.dimensions(10) == DIMENSIONS
    assert vectors.nearest(np.zeros((0, DIMENSIONS), np.float32), 2, 10) == []


def test_an_entity_of_very_many_faces_does_not_hide_the_others(
    vectors: MilvusProfiles, writer: MilvusProfileWriter
) -> None:
    many = [face("ana", 0, step / 10_000) for step in range(300)]
    writer.replace([*many, face("bojan", 0, 0.4), face("cene", 0, 0.5)])
    (hits,) = vectors.nearest(axis(0)[np.newaxis], 3, 10)
    assert [hit.entity_id for hit in hits] == ["ana", "bojan", "cene"]


def test_an_import_that_is_run_again_leaves_each_face_once_and_says_who_is_there(
    writer: MilvusProfileWriter,
) -> None:
    for _ in range(2):
        writer.create(DIMENSIONS)
        writer.replace([face("ana", 0), face("bojan", 1), face('o\'neil "x"', 2)])
    writer.replace([face("ana", 4)])
    writer.finish()
    assert writer.count() == 3
    assert writer.present(["ana", 'o\'neil "x"', "nobody"]) == {"ana", 'o\'neil "x"'}
    sample = {each.entity_id: each.features for each in writer.sample(10)}
    assert np.allclose(sample["ana"], axis(4))
    assert len(writer.sample(2)) == 2


def test_exact_search_is_what_the_efforts_are_held_against(writer: MilvusProfileWriter) -> None:
    random = np.random.default_rng(5).normal(size=(50, DIMENSIONS)).astype(np.float32)
    units = random / np.linalg.norm(random, axis=1, keepdims=True)
    faces = [face(f"entity-{number}", 0) for number in range(50)]
    writer.replace([type(each)(each.entity_id, 0, unit, True) for each, unit in zip(faces, units, strict=True)])
    expected = [f"entity-{number}" for number in np.argsort(-(units @ units[7]))[:5]]
    assert [hit.entity_id for hit in writer.exact(units[7:8], 5)[0]] == expected
    most = writer.efforts()[-1]
    assert most == 1024
    assert [hit.entity_id for hit in writer.nearest_with(most, units[7:8], 5)[0]] == expected


def test_a_collection_that_is_not_there_is_said_by_its_setting(vectors: MilvusProfiles) -> None:
    with pytest.raises(StoreUnavailable, match="PROFILE_SEARCH_MILVUS_COLLECTION"):
        vectors.dimensions(10)


# --- MongoDB


@pytest.fixture
def wire() -> Iterator[MongoWire]:
    server = MongoWire()
    server.start()
    yield server
    server.listening.set()
    server.stop()


@pytest.fixture
def documents(wire: MongoWire) -> Iterator[MongoProfiles]:
    """A collection of its own, in the MongoDB of MONGO_TEST_URI where that is set."""
    uri = os.environ.get("MONGO_TEST_URI") or wire.uri
    profiles = MongoProfiles(uri, f"facerec_test_{uuid.uuid4().hex[:12]}", "GenericFeatures")
    yield profiles
    profiles._client.call(lambda client, _left_s: client.drop_database(profiles._names[0]), 10)
    profiles.close()


def test_metadata_of_all_entities_comes_in_one_question(documents: MongoProfiles, wire: MongoWire) -> None:
    documents.create()
    documents.upsert([document(f"entity-{number}") for number in range(300)])
    wire.asked.clear()
    found = documents.metadata_of([f"entity-{number}" for number in range(200)] + ["nobody"], 5)
    assert len(found) == 200
    assert found["entity-7"] == [document("entity-7").metadata]
    if "MONGO_TEST_URI" not in os.environ:
        assert (wire.asked["find"], wire.asked["getMore"]) == (1, 0)
    assert documents.metadata_of([], 5) == {}


def test_documents_of_the_same_entity_and_recognizer_are_replaced_and_of_another_are_kept(
    documents: MongoProfiles,
) -> None:
    documents.upsert([document("ana"), document("bojan")])
    documents.upsert([ProfileDocument("ana", "buffalo_l", {"tiktokData": {"name": "Ana", "id": "1"}})])
    documents.upsert([ProfileDocument("ana", "other", {"facebookData": {"name": "Ana", "id": "2"}})])
    assert documents.count() == 3
    found = documents.metadata_of(["ana"], 5)["ana"]
    assert sorted(next(iter(metadata)) for metadata in found) == ["facebookData", "tiktokData"]
    assert documents.present(["ana", "nobody"]) == {"ana"}
    documents.ping(5)


def test_values_that_json_and_postgres_lack_come_as_text_or_as_nothing(documents: MongoProfiles) -> None:
    odd = {
        "twitterData": {
            "name": "A\0na",
            "seen": datetime(2026, 1, 2, tzinfo=UTC),
            "ratio": float("nan"),
            "tags": ["x", 3, None, True],
            "followers": 2**40,
        }
    }
    documents.upsert([ProfileDocument("ana", "buffalo_l", odd)])
    (metadata,) = documents.metadata_of(["ana"], 5)["ana"]
    assert metadata["twitterData"] == {
        "name": "Ana",
        "seen": "2026-01-02T00:00:00+00:00",
        "ratio": None,
        "tags": ["x", 3, None, True],
        "followers": 2**40,
    }


@pytest.mark.parametrize(("code", "sentence"), [(18, "refused the credentials"), (13, "lack the right"), (2, "code 2")])
def test_a_refusal_says_what_to_look_at_and_no_host(wire: MongoWire, code: int, sentence: str) -> None:
    wire.refusal = code
    with (
        closing(MongoProfiles(wire.uri, *MONGO_NAMES)) as profiles,
        pytest.raises(StoreUnavailable, match=sentence) as failed,
    ):
        profiles.ping(2)
    assert "example" not in str(failed.value)


@pytest.mark.parametrize("uri", ["mongodb://root:hunter2@", "redis://root:hunter2@db.example", "mongodb://h:port"])
def test_an_address_that_is_none_is_said_by_its_setting(uri: str) -> None:
    with (
        closing(MongoProfiles(uri, *MONGO_NAMES)) as profiles,
        pytest.raises(StoreUnavailable, match="PROFILE_SEARCH_MONGO_URI") as failed,
    ):
        profiles.ping(1)
    assert "hunter2" not in str(failed.value) + repr(profiles)


# --- S3


@pytest.fixture
def keep_alive() -> Iterator[KeepAliveS3]:
    server = KeepAliveS3()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Amazon's semantics as moto has them; it closes each connection."""
    port = refused_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/moto-api/")
        made = S3Objects(_options(url))
        made._client.call(lambda client, _left_s: client.create_bucket(Bucket=BUCKET), 10)
        made.close()
        yield url
    finally:
        server.kill()
        server.wait(30)


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            urlopen(url, timeout=5).close()  # noqa: S310  # of this test
        except OSError:
            time.sleep(0.1)
        else:
            return


def _options(url: str) -> S3Options:
    return S3Options("PROFILE_SEARCH_S3", BUCKET, "us-east-1", url, ACCESS_KEY, SECRET_KEY)


@pytest.fixture(params=["moto", "keep_alive"])
def objects(request: pytest.FixtureRequest) -> Iterator[S3Objects]:
    server = request.getfixturevalue(request.param)
    store = S3Objects(_options(server if isinstance(server, str) else server.url), 10.0)
    yield store
    store.close()


def test_objects_are_kept_found_counted_and_removed_by_their_prefix(objects: S3Objects) -> None:
    for key in ("crops/a/0.jpg", "crops/a/1 č.jpg", "crops/ab/0.jpg"):
        objects.put(key, key.encode(), "image/jpeg")
    assert objects.get("crops/a/1 č.jpg") == "crops/a/1 č.jpg".encode()
    assert objects.get("crops/a/9.jpg") is None
    assert (objects.exists("crops/a/0.jpg"), objects.exists("crops/a/9.jpg")) == (True, False)
    assert objects.count("crops/") == 3
    assert objects.names("crops") == ["a", "ab"]
    assert objects.names("nothing") == []
    objects.delete_prefix("crops/a")
    assert objects.get("crops/a/0.jpg") is None
    assert objects.get("crops/ab/0.jpg") == b"crops/ab/0.jpg"
    objects.delete_prefix("crops/ab")


def test_many_objects_are_removed_sixteen_at_a_time(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(32):
        objects.put(f"crops/many/{number}.jpg", b"x", "image/jpeg")
    together, delete = threading.Barrier(16, timeout=30), S3Objects._delete

    def delete_together(store: S3Objects, key: str) -> None:
        together.wait()
        delete(store, key)

    monkeypatch.setattr(S3Objects, "_delete", delete_together)
    objects.delete_prefix("crops/many")
    assert objects.count("crops/many/") == 0


def test_an_object_that_is_too_large_is_not_read(objects: S3Objects) -> None:
    objects.put("big.jpg", b"x" * 1000, "image/jpeg")
    assert objects.get("big.jpg", max_bytes=1000) == b"x" * 1000
    with pytest.raises(TooLarge):
        objects.get("big.jpg", max_bytes=999)
    assert S3Photos(objects, 999).photo("big.jpg", 10) is None


@pytest.mark.parametrize(
    "key",
    ["../secret.jpg", "/etc/a.jpg", "https://host/x.jpg", "profile_images/../../x.jpg", "exports/customers.csv", ""],
)
def test_a_key_that_leads_elsewhere_is_no_photo_and_nobody_is_asked(keep_alive: KeepAliveS3, key: str) -> None:
    with closing(S3Photos(S3Objects(_options(keep_alive.url)), MAX_PHOTO_BYTES)) as photos:
        assert photos.photo(key, 5) is None
        with pytest.raises(BadRequest):
            photos.put(key, b"x", "image/jpeg")
    assert keep_alive.asked == []


def test_a_photo_that_comes_drop_by_drop_is_given_up_at_the_limit(keep_alive: KeepAliveS3) -> None:
    keep_alive.objects["slow.jpg"] = b"x" * 1000
    keep_alive.drop_by_drop.add("slow.jpg")
    photos = S3Photos(S3Objects(_options(keep_alive.url)), MAX_PHOTO_BYTES)
    with closing(photos), pytest.raises(StoreTimeout):
        photos.photo("slow.jpg", 0.5)
    keep_alive.drop_by_drop.clear()  # the server's thread ends with the connection


@pytest.mark.parametrize(("option", "sentence"), [("bucket", "S3_BUCKET"), ("access_key", "S3_ACCESS_KEY")])
def test_a_wrong_setting_is_named_and_shown_nowhere(keep_alive: KeepAliveS3, option: str, sentence: str) -> None:
    given = {"bucket": BUCKET, "access_key": ACCESS_KEY} | {option: "wrongvalue"}
    options = S3Options("PROFILE_SEARCH_S3", endpoint_url=keep_alive.url, secret_key=SECRET_KEY, **given)
    with closing(S3Objects(options)) as objects, pytest.raises(StoreUnavailable, match=sentence) as failed:
        objects.get("a.jpg")
    for shown in (str(failed.value), repr(objects), repr(options)):
        assert not any(secret in shown for secret in ("wrongvalue", SECRET_KEY, "127.0.0.1", "example"))


FORKED = """
import os, sys
from app.adapters.s3_objects import S3Objects, S3Options
url, bucket, access_key, secret_key = sys.argv[1:]
store = S3Objects(S3Options("PROFILE_SEARCH_S3", bucket, "us-east-1", url, access_key, secret_key))
assert store.get("person-0") == b"person-0" * 500  # the client is in use before the fork

def read_own(number):
    return all(store.get(f"person-{number}") == f"person-{number}".encode() * 500 for _ in range(60))

children = []
for number in range(1, 5):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if read_own(number) else 1)
    children.append(pid)
own = read_own(0)
ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
print(own, *ended)
"""


def test_after_a_fork_each_process_reads_its_own_photos(keep_alive: KeepAliveS3) -> None:
    keep_alive.objects = {f"person-{number}": f"person-{number}".encode() * 500 for number in range(5)}
    command = [sys.executable, "-c", FORKED, keep_alive.url, BUCKET, ACCESS_KEY, SECRET_KEY]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.stdout.split() == ["True", "0", "0", "0", "0"], done.stderr


# --- a socket that accepts and never answers


def test_each_store_that_never_answers_is_left_at_the_limit_and_no_error_names_it() -> None:
    load_vendors()
    with silent_port() as port:
        at = Addresses(
            f"http://127.0.0.1:{port}", f"mongodb://root:hunter2@127.0.0.1:{port}", f"http://127.0.0.1:{port}"
        )
        vectors, documents, photos = at.vectors(), at.documents(), at.photos()
        asks = (
            lambda: vectors.dimensions(2),
            lambda: documents.ping(2),
            lambda: photos.photo("a.jpg", 2),
        )
        for ask in asks:
            with left_behind(), pytest.raises(StoreUnavailable) as failed:
                ask()
            assert not any(word in str(failed.value) for word in ("127.0.0.1", str(port), "hunter2"))
        for store in (vectors, documents, photos):
            store.close()
