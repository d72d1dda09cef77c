"""The rules of profile search, whatever the stores are: what is asked, what is a match, what a failure becomes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from app.domain import EmbeddingSpec
from app.errors import AppError, StoreTimeout, StoreUnavailable
from app.services.profile_search_service import ProfileSearchOptions, ProfileSearchService, ProfileStores
from app.services.profiles.records import IdentityProbe, ProfileHit

SPEC = EmbeddingSpec("ArcFace", "ab" * 32, "retinaface", True, "base", 0, 1280, 4)
KINDS = {"vectors": "milvus", "documents": "mongodb", "photos": "s3"}
TWITTER = {"twitterData": {"name": "Ana", "id": "7", "profileUrl": "https://t.example/ana", "profileImage": "x"}}
JPEG, PNG, WEBP = b"\xff\xd8\xff ...", b"\x89PNG\r\n\x1a\n ...", b"RIFF....WEBPVP8 "


@dataclass
class Vectors:
    """An index that answers every probe alike, and counts."""

    hits: list[ProfileHit] = field(default_factory=list)
    length: int | None = 4
    error: Exception | None = None
    asked: list[NDArray[np.float32]] = field(default_factory=list)

    def dimensions(self, timeout_s: float) -> int | None:
        if self.error:
            raise self.error
        return self.length

    def nearest(self, probes: NDArray[np.float32], top_k: int, timeout_s: float) -> list[list[ProfileHit]]:
        if self.error:
            raise self.error
        self.asked.append(probes)
        return [list(self.hits) for _ in probes]

    def close(self) -> None: ...


@dataclass
class Documents:
    """Documents by entity, and what was asked for."""

    known: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    error: Exception | None = None
    asked: list[Sequence[str]] = field(default_factory=list)

    def ping(self, timeout_s: float) -> None:
        if self.error:
            raise self.error

    def metadata_of(self, entity_ids: Sequence[str], timeout_s: float) -> dict[str, list[Mapping[str, Any]]]:
        if self.error:
            raise self.error
        self.asked.append(entity_ids)
        return {name: self.known[name] for name in entity_ids if name in self.known}

    def close(self) -> None: ...


@dataclass
class Photos:
    """Photos by key; an exception is raised, an event waited for."""

    known: dict[str, bytes | Exception | threading.Event] = field(default_factory=dict)

    def photo(self, key: str, timeout_s: float) -> bytes | None:
        found = self.known.get(key)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, threading.Event):
            found.wait(30)
            return None
        return found

    def close(self) -> None: ...


@dataclass
class World:
    """A service over fakes."""

    vectors: Vectors = field(default_factory=Vectors)
    documents: Documents = field(default_factory=Documents)
    photos: Photos = field(default_factory=Photos)
    photo_timeout_s: float = 30.0

    @property
    def service(self) -> ProfileSearchService:
        options = ProfileSearchOptions(SPEC, 0.7, 3, 5.0, self.photo_timeout_s)
        return ProfileSearchService(ProfileStores(self.vectors, self.documents, self.photos, KINDS), options)


def probe(cluster_id: int, *numbers: float) -> IdentityProbe:
    return IdentityProbe(cluster_id, np.array(numbers, dtype=np.float64) if numbers else None)


def hits(*similarities: tuple[str, float]) -> list[ProfileHit]:
    return [ProfileHit(entity, similarity) for entity, similarity in similarities]


def test_all_identities_are_one_question_to_each_store_at_unit_length() -> None:
    world = World(Vectors(hits(("a", 0.9))), Documents({"a": [TWITTER]}))
    result = world.service.search_profiles([probe(0, 3, 0, 0, 4), probe(1, 0, 2, 0, 0)])
    (asked,) = world.vectors.asked
    assert asked.tolist() == [pytest.approx([0.6, 0, 0, 0.8]), pytest.approx([0, 1, 0, 0])]
    assert world.documents.asked == [["a"]]
    assert result.status == "ok"
    assert {cluster: len(found) for cluster, found in result.matches.items()} == {0: 1, 1: 1}
    assert set(result.ms) == {"vectors", "documents"}


def test_outliers_and_identities_without_a_direction_are_not_searched() -> None:
    world = World()
    result = world.service.search_profiles(
        [probe(-1, 1, 0, 0, 0), probe(0), probe(1, 0, 0, 0, 0), probe(2, np.nan, 0, 0, 0)]
    )
    assert (result.status, result.matches) == ("ok", {})
    assert world.vectors.asked == []


def test_the_indexs_order_is_kept_equal_entities_stand_once_and_weak_ones_do_not() -> None:
    found = hits(("b", 0.95), ("a", 0.9), ("b", 0.9), ("c", 0.7), ("d", 0.6999994), ("e", 0.8))
    world = World(Vectors(found), Documents({name: [TWITTER] for name in "abcde"}))
    matches = world.service.search_profiles([probe(0, 1, 0, 0, 0)]).matches[0]
    assert [(match.entity_id, match.similarity) for match in matches] == [("b", 0.95), ("a", 0.9), ("c", 0.7)]


def test_nothing_above_the_threshold_is_an_empty_list_and_no_question_for_documents() -> None:
    world = World(Vectors(hits(("a", 0.5))))
    result = world.service.search_profiles([probe(4, 1, 0, 0, 0)])
    assert (result.status, result.matches) == ("ok", {4: ()})
    assert world.documents.asked == []


def test_an_entity_gives_one_match_for_each_platform_and_its_whole_metadata() -> None:
    metadata = TWITTER | {"instagramData": {"name": "Ana", "id": 8, "follower_count": 5}, "other": 1}
    again = {"twitterData": {"name": "Later"}, "facebookData": {"id": "9"}}
    world = World(Vectors(hits(("a", 0.9))), Documents({"a": [metadata, again]}))
    matches = world.service.search_profiles([probe(0, 1, 0, 0, 0)]).matches[0]
    assert [(match.platform, match.name, match.profile_id) for match in matches] == [
        ("twitter", "Ana", "7"),
        ("instagram", "Ana", "8"),
        ("facebook", None, "9"),
    ]
    assert matches[1].raw_metadata is metadata


@pytest.mark.parametrize(
    "metadata",
    [{}, {"twitterData": "text"}, {"twitterData": None}, {"unknownData": {"name": "x"}}],
)
def test_metadata_that_names_no_profile_gives_no_match_and_no_failure(metadata: dict[str, Any]) -> None:
    world = World(Vectors(hits(("a", 0.9), ("missing", 0.8))), Documents({"a": [metadata]}))
    result = world.service.search_profiles([probe(0, 1, 0, 0, 0)])
    assert (result.status, result.matches) == ("ok", {0: ()})


def test_fields_of_a_wrong_type_are_left_out_and_the_rest_stays() -> None:
    profile = {"name": ["x"], "id": True, "profileUrl": " ", "profileImage": 7}
    world = World(Vectors(hits(("a", 0.9))), Documents({"a": [{"tiktokData": profile}]}))
    (match,) = world.service.search_profiles([probe(0, 1, 0, 0, 0)]).matches[0]
    assert (match.name, match.profile_id, match.profile_url) == (None, None, None)


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("profile_images/other.webp", "profile_images/other.webp"),
        ("https://cdn.example/a.jpg?sig=1", "profile_images/a.jpg"),
        ("faces/A.PNG", "faces/A.PNG"),
        ("../../etc/passwd", "profile_images/a.jpg"),
        ("exports/customers.csv", "profile_images/a.jpg"),
        ("backup", "profile_images/a.jpg"),
        (None, "profile_images/a.jpg"),
    ],
)
def test_a_photo_is_named_by_a_key_and_never_by_an_address(named: str | None, key: str) -> None:
    world = World(Vectors(hits(("a", 0.9))), Documents({"a": [{"twitterData": {"profileImage": named}}]}))
    (match,) = world.service.search_profiles([probe(0, 1, 0, 0, 0)]).matches[0]
    assert match.profile_image_path == key


@pytest.mark.parametrize("store", ["vectors", "documents"])
@pytest.mark.parametrize("error", [StoreUnavailable("It is down."), StoreTimeout("It is slow."), ValueError("secret")])
def test_a_store_that_fails_is_a_failed_search_and_not_an_empty_one(store: str, error: Exception) -> None:
    world = World(Vectors(hits(("secret-entity", 0.9))), Documents({"secret-entity": [TWITTER]}))
    getattr(world, store).error = error
    with capture_logs() as logs:
        result = world.service.search_profiles([probe(0, 1, 0, 0, 0)])
    assert (result.status, result.matches) == ("failed", {})
    assert result.reason == (
        error.message if isinstance(error, AppError) else "An unexpected ValueError; the log has more."
    )
    assert any(line["event"] == "profile_search.not_done" and line["log_level"] == "warning" for line in logs)
    assert "secret-entity" not in str(logs)


def test_a_store_that_comes_back_is_searched_again_by_itself() -> None:
    world = World(Vectors(hits(("a", 0.9)), error=StoreUnavailable("It is down.")), Documents({"a": [TWITTER]}))
    service = world.service
    assert not service.connect().usable
    assert service.search_profiles([probe(0, 1, 0, 0, 0)]).status == "failed"
    world.vectors.error = None
    assert service.search_profiles([probe(0, 1, 0, 0, 0)]).status == "ok"


def test_an_index_of_other_dimensions_is_off_with_the_reason_and_is_not_asked() -> None:
    world = World(Vectors(length=512))
    service = world.service
    result, health = service.search_profiles([probe(0, 1, 0, 0, 0)]), service.health_check()
    assert (result.status, world.vectors.asked) == ("off", [])
    assert "512 numbers, and ArcFace makes 4" in (result.reason or "")
    assert (health["status"], health["reason"]) == ("off", result.reason)
    assert health["dimensions"] == {"index": None, "engine": 4}


def test_an_empty_index_is_searched_and_finds_nobody() -> None:
    world = World(Vectors(length=None))
    assert world.service.search_profiles([probe(0, 1, 0, 0, 0)]).matches == {0: ()}


def test_the_health_looks_at_both_stores_and_not_at_every_call() -> None:
    world = World(documents=Documents(error=StoreUnavailable("It is down.")))
    service = world.service
    first = service.health_check()
    world.documents.error = None
    assert first == service.health_check()
    assert first["status"] == "off"
    assert first["stores"] == {
        "vectors": {"kind": "milvus", "status": "ok"},
        "documents": {"kind": "mongodb", "status": "down", "reason": "It is down."},
        "photos": {"kind": "s3", "status": "ok"},
    }


def test_photos_that_fail_are_missing_or_lead_elsewhere_are_left_out() -> None:
    photos = Photos(
        {
            "profile_images/a.jpg": JPEG,
            "profile_images/b.jpg": StoreUnavailable("Forbidden."),
            "profile_images/c.jpg": ValueError("a bug"),
            "profile_images/d.webp": WEBP,
        }
    )
    service = World(photos=photos).service
    asked = [*(f"profile_images/{name}.jpg" for name in "abcde"), "../up.jpg", "profile_images/a.jpg"]
    assert service.photos(asked) == {"profile_images/a.jpg": JPEG, "profile_images/d.jpg": WEBP}
    assert service.health_check()["status"] == "ok"


def test_a_photo_that_hangs_holds_up_none_of_the_others() -> None:
    release = threading.Event()
    photos = Photos({"profile_images/slow.jpg": release, "profile_images/a.jpg": JPEG})
    service = World(photos=photos, photo_timeout_s=0.2).service
    came = service.photos(["profile_images/slow.jpg", "profile_images/a.jpg"])
    release.set()
    assert came == {"profile_images/a.jpg": JPEG}


@pytest.mark.parametrize("key", ["exports/customers.csv", "profile_images/a", "backup.jpg.gz", ".jpg", "a/.jpg"])
def test_whatever_else_the_bucket_holds_is_given_out_to_nobody(key: str) -> None:
    assert World(photos=Photos({key: JPEG})).service.photos([key]) == {}


def test_what_is_called_a_photo_and_is_no_picture_is_left_out() -> None:
    photos = {"a.jpg": JPEG, "b.jpeg": PNG, "c.PNG": PNG, "d.webp": WEBP}
    others = {"e.jpg": b"name,phone\n", "f.png": b"<svg onload=alert(1)>", "g.webp": b"", "h.jpg": b"GIF89a"}
    twin = {"i.jpg": b"no picture", "i.webp": WEBP}
    service = World(photos=Photos(photos | others | twin)).service
    assert service.photos([*photos, *others, "i.jpg"]) == photos | {"i.jpg": WEBP}
    assert service.health_check()["status"] == "ok"


def test_without_any_photo_the_health_is_degraded_and_the_search_goes_on() -> None:
    refused = StoreUnavailable("S3 refused the credentials.")
    world = World(Vectors(hits(("a", 0.9))), Documents({"a": [TWITTER]}), Photos({"profile_images/a.jpg": refused}))
    service = world.service
    assert service.photos(["profile_images/a.jpg"]) == {}
    health = service.health_check()
    assert (health["status"], health["reason"]) == ("degraded", "S3 refused the credentials.")
    assert service.search_profiles([probe(0, 1, 0, 0, 0)]).status == "ok"
