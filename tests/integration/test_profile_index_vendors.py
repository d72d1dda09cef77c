"""`scripts.profile_index` with Milvus, MongoDB's protocol and S3's, over sockets: filled, verified and searched."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from app.adapters.milvus_connection import Milvus
from app.adapters.milvus_profile_writer import MilvusProfileWriter
from app.adapters.milvus_profiles import PROFILES
from app.bootstrap_scripts import GalleryContainer
from app.services.profiles.records import IdentityProbe
from config import Settings
from scripts import demo_faces, profile_index
from tests.integration.gallery_host import GalleryHost
from tests.integration.milvus_server import MilvusServer
from tests.integration.mongo_wire import MongoWire
from tests.integration.profile_lines import DIMENSIONS
from tests.integration.s3_keepalive import ACCESS_KEY, BUCKET, SECRET_KEY, KeepAliveS3


@pytest.fixture
def wire() -> Iterator[MongoWire]:
    server = MongoWire()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3() -> Iterator[KeepAliveS3]:
    server = KeepAliveS3()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def vendors(
    host: GalleryHost, milvus: MilvusServer, wire: MongoWire, s3: KeepAliveS3, monkeypatch: pytest.MonkeyPatch
) -> GalleryHost:
    """A host whose three stores are the vendors'."""
    settings = {
        "ENABLED": "true",
        "MILVUS_URI": milvus.uri,
        "MILVUS_COLLECTION": f"profiles_{uuid.uuid4().hex}",
        "MONGO_URI": wire.uri,
        "S3_BUCKET": BUCKET,
        "S3_ENDPOINT_URL": s3.url,
        "S3_ACCESS_KEY": ACCESS_KEY,
        "S3_SECRET_KEY": SECRET_KEY,
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PROFILE_SEARCH_{name}", value)
    return host


def test_the_vendors_stores_are_filled_once_verified_and_searched(vendors: GalleryHost, s3: KeepAliveS3) -> None:
    vectors = np.random.default_rng(1).standard_normal((20, DIMENSIONS))
    (vendors.folder / "photo.jpg").write_bytes(demo_faces.known_probe()[0])
    path = vendors.folder / "profiles.jsonl"
    lines = [
        {
            "entity_id": f"e{number}",
            "metadata": {"twitterData": {"name": f"Name {number}", "id": str(number)}},
            "vectors": [vector.tolist()],
            "image": "photo.jpg",
        }
        for number, vector in enumerate(vectors)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    for imported, present in ((20, 0), (0, 20)):
        code, printed = vendors.run(profile_index.main, "import", str(path))
        flat = " ".join(printed.split())
        assert code == 0, printed
        assert f"profiles imported │ {imported}" in flat
        assert f"there already │ {present}" in flat
    assert len(s3.objects) == 20

    code, printed = vendors.run(profile_index.main, "verify", "--photos", "0")
    flat = " ".join(printed.split())
    assert code == 0, printed
    assert "vectors │ milvus │ 20 faces" in flat
    assert "documents │ mongodb │ 20 documents" in flat
    assert "photos │ s3 │ 20 photos" in flat
    assert "PROFILE_SEARCH_NPROBE=" in flat

    with closing(GalleryContainer(Settings.load())) as container:
        search = container.profile_search
        assert search is not None
        result = search.search_profiles([IdentityProbe(0, vectors[4]), IdentityProbe(1, vectors[9])])
        assert [match.entity_id for found in result.matches.values() for match in found] == ["e4", "e9"]
        key = result.matches[0][0].profile_image_path
        assert key == "profile_images/e4.jpg"
        assert search.photos([key]) == {key: demo_faces.known_probe()[0]}
        assert search.health_check()["status"] == "ok"


def test_a_collection_of_another_models_vectors_is_not_written_to_and_is_off(
    vendors: GalleryHost, milvus: MilvusServer
) -> None:
    settings = Settings.load()
    with closing(Milvus(milvus.uri, "", PROFILES)) as connection:
        MilvusProfileWriter(connection, settings.profile_search_milvus_collection).create(512)
    path = vendors.folder / "profiles.jsonl"
    line = {"entity_id": "e", "metadata": {"twitterData": {"name": "x"}}, "vectors": [[1.0] * DIMENSIONS]}
    path.write_text(json.dumps(line))
    code, printed = vendors.run(profile_index.main, "import", str(path))
    assert code == 1
    assert "holds vectors of 512 numbers" in " ".join(printed.split())

    with closing(GalleryContainer(settings)) as container:
        assert container.profile_search is not None
        health = container.profile_search.health_check()
    assert health["status"] == "off"
    assert "vectors of 512 numbers, and Dlib makes 128" in health["reason"]
