"""Which names a person may have: each becomes a folder, and is read off it again."""

from __future__ import annotations

import unicodedata

import pytest

from app.errors import BadRequest
from app.person_names import person_name
from app.services.people.person_records import check_person_name


@pytest.mark.parametrize("name", ["Ana Anić", "Đorđe O'Brien", "王小明", "Ana.Marija", "100% Ana_1", "🙂"])
def test_a_name_is_kept_and_is_read_off_its_folder_again(name: str) -> None:
    assert check_person_name(name) == name
    assert person_name(f"{check_person_name(name)}/1.jpg") == name


def test_spaces_are_single_and_letters_composed() -> None:
    assert check_person_name(unicodedata.normalize("NFD", "  Ana \u00a0 Anić ").replace("\u00a0", " ")) == "Ana Anić"


@pytest.mark.parametrize(
    "name", ["", "   ", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a\0b", "a\nb", "x" * 201, "ć" * 101, "\ud800"]
)
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_person_name(name)
    assert caught.value.error_code == "invalid_name"
