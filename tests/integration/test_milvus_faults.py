"""What a user notices when Milvus is down, hangs, is empty or comes back, and what an operator reads."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from app import health
from app.adapters.milvus_connection import Milvus
from app.adapters.milvus_gallery import CollectionOptions, MilvusGallery
from app.adapters.postgres import Database
from app.bootstrap import Container
from app.domain import Face, FaceBox, FaceMatches, RecognizedFace
from app.errors import AppError, StoreTimeout, StoreUnavailable, UnknownDomain
from app.face_index import IndexedFace
from app.services.dual_mode import DualMode
from app.services.recognition_pgvector import PgVectorRecognitionService
from app.services.shadow import Shadow
from scripts import sync_milvus
from tests.integration.galleries import BOX, make_up, policy_of
from tests.integration.gallery_host import GalleryHost
from tests.integration.milvus_server import MilvusServer, Mirrored, mirrored
from tests.integration.people_world import DOMAIN, SPEC, axis, enrolled

PROBE = axis(0)[np.newaxis]
FACE = Face(FaceBox(1, 2, 30, 40), axis(0), 1.0)


@pytest.fixture
def parts(milvus: MilvusServer, migrated_database: Database) -> Mirrored:
    parts = mirrored(milvus, migrated_database, SPEC)
    parts.vector_db.add_faces(DOMAIN, [enrolled("Ana", 0), enrolled("Bojan", 2)])
    parts.copy()
    return parts


@pytest.fixture
def gallery(parts: Mirrored) -> PgVectorRecognitionService:
    return PgVectorRecognitionService(parts.gallery, policy_of(0.3), timeout_s=1, dual=DualMode(Shadow(limit_s=1)))


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def names(gallery: PgVectorRecognitionService) -> list[str]:
    (matches,) = gallery.search(DOMAIN, PROBE)
    return [match.person for match in matches]


def eventually(search: Callable[[], list[str]]) -> list[str]:
    for _ in range(20):
        try:
            return search()
        except StoreUnavailable:
            continue
    return search()


def test_a_milvus_that_is_gone_is_unavailable_until_it_is_back(
    milvus: MilvusServer, gallery: PgVectorRecognitionService
) -> None:
    assert names(gallery) == ["Ana"]
    milvus.kill()
    try:
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                names(gallery)
    finally:
        milvus.start()
    assert eventually(lambda: names(gallery)) == ["Ana"]


def test_a_milvus_that_hangs_is_a_timeout_and_answers_again_afterwards(
    milvus: MilvusServer, gallery: PgVectorRecognitionService
) -> None:
    assert names(gallery) == ["Ana"]
    with milvus.hanging():
        for _ in range(2):
            with pytest.raises(StoreTimeout):
                names(gallery)
    assert eventually(lambda: names(gallery)) == ["Ana"]


@pytest.mark.parametrize("token", ["", "root:secret"])
def test_a_server_that_says_nothing_is_left_behind_at_the_limit(silent: str, token: str) -> None:
    index = MilvusGallery(Milvus(silent, token), CollectionOptions("faces", SPEC.dimensions))
    with pytest.raises(StoreUnavailable) as failed:
        index.nearest(DOMAIN, PROBE, 10, (), 0.5)
    index.close()
    assert "secret" not in str(failed.value) + repr(index)
    assert silent not in str(failed.value)


def test_an_address_without_a_server_is_unavailable() -> None:
    index = MilvusGallery(Milvus("http://127.0.0.1:1", ""), CollectionOptions("faces", SPEC.dimensions))
    with pytest.raises(StoreUnavailable):
        index.nearest(DOMAIN, PROBE, 10, (), 0.5)
    index.close()


def test_a_gallery_that_was_not_copied_is_said_not_to_be_there_yet(
    milvus: MilvusServer, migrated_database: Database
) -> None:
    parts = mirrored(milvus, migrated_database, SPEC)
    parts.vector_db.add_faces(DOMAIN, [enrolled("Ana", 0)])
    service = PgVectorRecognitionService(parts.gallery, policy_of(0.3), timeout_s=5)
    with pytest.raises(StoreUnavailable, match="sync_milvus") as failed:
        names(service)
    assert failed.value.error_code == "gallery_not_synced"
    parts.sync.prepare()  # the collection is there, and nothing in it
    with pytest.raises(StoreUnavailable, match="sync_milvus"):
        names(service)
    parts.copy()
    assert names(service) == ["Ana"]
    with pytest.raises(UnknownDomain):
        service.search("atlantis", PROBE)


def test_the_pkl_answers_in_dual_mode_whatever_milvus_does(
    milvus: MilvusServer, gallery: PgVectorRecognitionService
) -> None:
    control = RecognizedFace(BOX, FaceMatches())
    with milvus.hanging():
        answer = gallery.recognize_face_dual_mode([FACE], DOMAIN, lambda: [control])
    assert answer["recognized_faces"] == [control.to_json()]
    assert answer["pgvector_results"] == []
    assert "timeout" in answer["comparison"]["candidate_error"]["code"]


# --- as an operator has it


@pytest.fixture
def operator(host: GalleryHost, milvus: MilvusServer, monkeypatch: pytest.MonkeyPatch) -> GalleryHost:
    """A host with 24 persons in Postgres, set to search in Milvus, where nothing is yet."""
    container = host.container()
    container.vector_db.add_faces("serbia", make_up([3] * 24).faces)
    container.close()
    monkeypatch.setenv("GALLERY_BACKEND", "milvus")
    monkeypatch.setenv("GALLERY_MILVUS_URI", milvus.uri)
    monkeypatch.setenv("GALLERY_MILVUS_COLLECTION", f"test_{host.folder.name}")
    monkeypatch.setenv("GALLERY_MILVUS_INDEX", "FLAT")
    monkeypatch.setenv("WEB_WORKERS", "1")
    return host


def pgvector_part(host: GalleryHost) -> dict[str, object]:
    container = host.container()
    try:
        part: dict[str, object] = health.report(container, with_details=True)["services"]["pgvector_gallery"]
        return part
    finally:
        container.close()


def test_the_gallery_is_copied_verified_and_given_up_by_one_command(operator: GalleryHost) -> None:
    assert pgvector_part(operator)["code"] == "gallery_not_synced"
    assert operator.run(sync_milvus.main)[0] == 0
    part = pgvector_part(operator)
    assert (part["status"], part["backend"], part["waiting"]) == ("ok", "milvus", 0)
    assert operator.run(sync_milvus.main, "--verify", "--domain", "serbia")[0] == 0
    assert operator.run(sync_milvus.main, "--retire")[0] == 0
    assert pgvector_part(operator)["code"] == "gallery_not_synced"


def test_a_copy_that_was_broken_off_goes_on_and_a_second_one_changes_nothing(
    operator: GalleryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.mirror.sync._PAGE", 50)
    upsert, calls = MilvusGallery.upsert, []

    def breaks_at_the_second(index: MilvusGallery, faces: list[object], timeout_s: float) -> None:
        calls.append(len(faces))
        if len(calls) == 2:
            raise StoreUnavailable("Milvus went away.")
        upsert(index, faces, timeout_s)  # type: ignore[arg-type]

    monkeypatch.setattr(MilvusGallery, "upsert", breaks_at_the_second)
    code, printed = operator.run(sync_milvus.main)
    assert (code, printed.splitlines()[-1]) == (1, "Milvus went away.")
    assert operator.run(sync_milvus.main)[0] == 0
    assert calls[:3] == [50, 22, 22], "it went on from where it was"
    assert operator.run(sync_milvus.main)[0] == 0
    assert sum(calls[3:]) == 0


def test_verify_finds_what_is_missing_stray_or_another_vector_and_a_copy_repairs_it(operator: GalleryHost) -> None:
    assert operator.run(sync_milvus.main)[0] == 0
    container = operator.container()
    assert container.mirror is not None
    index = container.mirror.index
    (ids,) = index.face_ids("serbia")
    index.delete(ids[:2], 10)
    spoiled = [*index.embeddings(ids[2:3], 10).items()]
    index.upsert([IndexedFace(face_id, "serbia", 1, -vector) for face_id, vector in spoiled], 10)
    index.upsert([IndexedFace(max(ids) + 1000, "serbia", 1, spoiled[0][1])], 10)
    container.close()
    code, printed = operator.run(sync_milvus.main, "--verify")
    row = next(line for line in printed.splitlines() if "serbia" in line)
    assert (code, [int(word) for word in row.split() if word.isdigit()]) == (1, [72, 2, 1, 70, 1])
    assert operator.run(sync_milvus.main, "--from-start")[0] == 0


def test_health_says_why_the_gallery_in_milvus_is_down(operator: GalleryHost, milvus: MilvusServer) -> None:
    assert operator.run(sync_milvus.main)[0] == 0
    with milvus.hanging():
        part = pgvector_part(operator)
    assert part["status"] == "down"
    assert "Milvus" in str(part["reason"])


def test_after_an_emergency_rollback_to_the_pkl_milvus_is_not_asked(
    operator: GalleryHost, milvus: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECTOR_DB_ENABLED", "false")
    operator.write_pkl("serbia", make_up([3] * 24).faces)
    container = operator.container()
    try:
        with milvus.hanging():
            report = health.report(container, with_details=True)
    finally:
        container.close()
    assert (report["status"], report["mode"]) == ("ok", "pkl")
    assert "pgvector_gallery" not in report["services"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"GALLERY_MILVUS_URI": ""}, "needs GALLERY_MILVUS_URI"),
        ({"GALLERY_MILVUS_URI": "/data/gallery.db", "WEB_WORKERS": "2"}, "serves one process only"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_reason(
    operator: GalleryHost, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], sentence: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AppError, match=sentence):
        Container()
