"""A real service with several workers that searches in a Milvus server: in dual mode, and as the one that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.bootstrap_milvus import sync
from app.bootstrap_scripts import GalleryContainer
from config import Settings
from scripts import demo_faces
from tests.e2e.conftest import DUAL, PGVECTOR, Service, settings_of
from tests.e2e.test_recognize import eventually
from tests.integration.milvus_server import MilvusServer


@pytest.fixture(scope="module")
def milvus(
    storage: tuple[Any, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[MilvusServer, dict[str, str]]]:
    """A server that holds the demo gallery, and the settings that name it."""
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    server.start()
    named = {"gallery_backend": "milvus", "gallery_milvus_uri": server.uri, "gallery_milvus_index": "FLAT"}
    container = GalleryContainer(Settings(**settings_of(storage[0]), **named, vector_db_enabled=True))
    mirror = sync(container)
    mirror.prepare()
    mirror.copy(lambda _faces: None)
    yield server, {name.upper(): value for name, value in named.items()} | {"WEB_WORKERS": "2"}
    mirror.retire()
    container.close()
    server.close()


def part_of(service: Service) -> dict[str, Any]:
    headers = {"Authorization": service.tokens["all"]}
    report = service.session.get(f"{service.address}/api/v1/health", headers=headers, timeout=30).json()
    part: dict[str, Any] = report["services"]["pgvector_gallery"]
    return part


def test_dual_mode_compares_the_pkl_with_milvus_and_survives_its_loss(
    start_service: Callable[..., Any], milvus: tuple[MilvusServer, dict[str, str]]
) -> None:
    server, settings = milvus
    photo, person = demo_faces.known_probe()
    with start_service(DUAL | settings) as service:
        for _ in range(6):  # both workers
            answer = service.recognize(photo).json()
            assert answer["recognized_faces"] == answer["pgvector_results"]
        assert (answer["comparison"]["pgvector_top1"], part_of(service)["backend"]) == (person, "milvus")
        server.kill()
        failed = service.recognize(photo).json()
        assert failed["recognized_faces"] == answer["recognized_faces"]
        assert failed["comparison"]["candidate_error"]["code"].startswith("store_")
        assert part_of(service)["status"] == "down"
        server.start()
        eventually(lambda: service.recognize(photo).json()["comparison"]["top1_match"] is True)


def test_milvus_answers_alone(start_service: Callable[..., Any], milvus: tuple[MilvusServer, dict[str, str]]) -> None:
    photo, person = demo_faces.known_probe()
    with start_service(PGVECTOR | milvus[1]) as service:
        (face,) = service.recognize(photo).json()["recognized_faces"]
        assert face["name"] == person
