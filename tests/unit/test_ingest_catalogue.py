"""What a file's path, size, time and content say about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from app.services.ingest.catalogue import Catalogue, Duplicate, ImageRecord, Refresh, Relocate, Rules
from app.services.ingest.embedding import FacePolicy, ImageOutcome
from app.services.ingest.images import FoundImage

A = FoundImage("Ana/1.jpg", 100, 1)
B = FoundImage("Bojan/1.jpg", 100, 2)
HASH, OTHER_HASH = "a" * 64, "b" * 64
LARGEST = Rules(FacePolicy.LARGEST)


def record(image: FoundImage = A, sha256: str | None = HASH, found: int = 1, **changes: object) -> ImageRecord:
    done = ImageRecord(image, sha256, ImageOutcome.DONE, None, FacePolicy.LARGEST, found, 1)
    return replace(done, **changes)  # type: ignore[arg-type]


def failed(image: FoundImage = A, sha256: str | None = HASH) -> ImageRecord:
    return record(image, sha256, 0, outcome=ImageOutcome.NO_FACE, reason="No face was found.", faces_stored=0)


def catalogue(
    records: Iterable[ImageRecord], on_disk: Iterable[FoundImage] = (A, B), rules: Rules = LARGEST
) -> Catalogue:
    return Catalogue(records, {image.path for image in on_disk}, rules)


def test_an_unchanged_file_is_settled_without_a_look_at_its_content() -> None:
    assert catalogue([record()]).is_settled(A)


@pytest.mark.parametrize("changed", [replace(A, size=99), replace(A, mtime_ns=9)])
def test_another_size_or_time_asks_for_the_content(changed: FoundImage) -> None:
    known = catalogue([record()])
    assert not known.is_settled(changed)
    assert known.step_for(changed, HASH) == Refresh(record(changed))
    assert known.step_for(changed, OTHER_HASH) is None


def test_known_content_under_a_new_path_is_a_move_where_the_old_file_is_gone_and_a_copy_where_not() -> None:
    assert catalogue([record()], on_disk=[B]).step_for(B, HASH) == Relocate(record(B), A)
    assert catalogue([record()], on_disk=[A, B]).step_for(B, HASH) == Duplicate(record(B), A)


def test_of_two_files_with_one_content_the_one_that_is_gone_has_moved() -> None:
    twin, new = FoundImage("Ana/0.jpg", 100, 3), FoundImage("Ceca/1.jpg", 100, 4)
    known = catalogue([record(twin), record(A)], on_disk=[twin, new])
    assert known.step_for(new, HASH) == Relocate(record(new), A)


def test_after_a_move_the_old_path_is_neither_known_nor_gone() -> None:
    known = catalogue([record()], on_disk=[B])
    step = known.step_for(B, HASH)
    assert step is not None
    known.note(step)
    assert (known.of(A.path), known.gone(), known.is_settled(B)) == (None, [], True)


def test_a_path_that_got_other_content_no_longer_stands_for_the_old() -> None:
    known = catalogue([record()])
    known.note(Refresh(record(A, OTHER_HASH)))
    assert known.step_for(B, HASH) is None


def test_two_files_that_swapped_their_names_do_not_swap_their_faces_by_mistake() -> None:
    known = catalogue([record(A, HASH), record(B, OTHER_HASH)])
    first = known.step_for(A, OTHER_HASH)
    assert first == Duplicate(record(A, OTHER_HASH), B)
    known.note(first)
    assert known.step_for(B, HASH) is None  # its content is nowhere in the database any more


def test_a_failure_is_settled_until_a_retry_is_asked_for() -> None:
    assert catalogue([failed()]).is_settled(A)
    again = catalogue([failed()], rules=Rules(FacePolicy.LARGEST, retry_failed=True))
    assert not again.is_settled(A)
    assert again.step_for(A, HASH) is None


def test_a_file_that_could_not_be_opened_is_looked_at_again() -> None:
    assert not catalogue([failed(sha256=None)]).is_settled(A)


@pytest.mark.parametrize(("faces_found", "settled"), [(1, True), (2, False)])
def test_another_policy_concerns_only_photos_with_several_faces(faces_found: int, settled: bool) -> None:
    known = catalogue([record(found=faces_found)], rules=Rules(FacePolicy.ALL))
    assert known.is_settled(A) is settled
