"""Person names and image paths, as read off the paths in galleries of every kind."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from app.person_names import gallery_root, person_name, relative_image

ELSEWHERE = Path("/srv/galleries/serbia")


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("Name Surname/1.jpg", "Name Surname"),
        ("Name_Surname/Other_Person_2.jpg", "Name_Surname"),
        ("Name Surname/2024/holiday/1.jpg", "Name Surname"),
        ("./Name Surname/1.jpg", "Name Surname"),
    ],
)
def test_an_image_in_a_folder_shows_the_person_the_folder_is_named_after(image: str, name: str) -> None:
    assert person_name(image) == name


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("Name Surname.jpg", "Name Surname"),
        ("Name Surname_12.jpg", "Name Surname"),
        ("Name-Surname (3).jpeg", "Name-Surname"),
        ("name_surname 04.png", "name surname"),
        ("Ivan Ivic2.jpg", "Ivan Ivic"),
        ("Ana_Anic-1-2.jpg", "Ana Anic"),
        ("Ana_Anic_.jpg", "Ana Anic"),
        ("Ana  Anic [2].webp", "Ana Anic"),
        ("x - Copy (2).jpg", "x"),
        ("Ana Anic – Kopija.jpg", "Ana Anic"),  # noqa: RUF001 -- the dash file managers write
        ("Ana Anic 2024-01-02 10.22.11.JPG", "Ana Anic"),
        ("Ana_Petrović-Jović#3.jpg", "Ana Petrović-Jović"),
        ("Ana Anic_1.jpg.jpg", "Ana Anic"),
        ("Dr. Ana Anic.jpg", "Dr. Ana Anic"),
        ("50 Cent_2.jpg", "50 Cent"),
        ("Петар Петровић 3.jpg", "Петар Петровић"),
    ],
)
def test_a_flat_file_shows_the_person_in_its_name_without_extension_and_counters(image: str, name: str) -> None:
    assert person_name(image) == name


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("001.jpg", "001"),
        ("12_3.jpg", "12_3"),
        ("(3).jpg", "(3)"),
        ("IMG_2041.jpg", "IMG_2041"),
        ("IMG-20240101-WA0003.jpg", "IMG-20240101-WA0003"),
        ("DSC00017 (2).png", "DSC00017 (2)"),
    ],
)
def test_a_file_named_by_a_counter_only_keeps_its_name_so_that_strangers_are_not_merged(image: str, name: str) -> None:
    assert person_name(image) == name


def test_a_name_written_in_two_unicode_forms_is_one_person() -> None:
    decomposed = unicodedata.normalize("NFD", "Žaklina Čović")

    assert person_name(f"{decomposed}/1.jpg") == person_name("Žaklina Čović_2.jpg") == "Žaklina Čović"


def test_the_name_of_a_name_is_itself() -> None:
    for image in ("Ana_Anic-1-2.jpg", "Ivan Ivic2.jpg", "Name-Surname (3).jpeg"):
        assert person_name(f"{person_name(image)}.jpg") == person_name(image)


def _people(identities: list[str], domain: str, pkl_dir: Path) -> list[tuple[str, str]]:
    root = gallery_root(identities, domain, pkl_dir)
    images = [relative_image(identity, root) for identity in identities]
    return [(image, person_name(image)) for image in images]


def test_images_below_the_folder_of_the_pkl_are_relative_to_it(tmp_path: Path) -> None:
    identities = [f"{tmp_path}/Ana Anic/1.jpg", f"{tmp_path}//Ivan Ivic_2.jpg"]

    assert _people(identities, "serbia", tmp_path) == [("Ana Anic/1.jpg", "Ana Anic"), ("Ivan Ivic_2.jpg", "Ivan Ivic")]


def test_a_single_person_below_the_folder_of_the_pkl_is_still_a_folder(tmp_path: Path) -> None:
    identities = [f"{tmp_path}/Ana Anic/1.jpg", f"{tmp_path}/Ana Anic/2.jpg"]

    assert _people(identities, "serbia", tmp_path)[0] == ("Ana Anic/1.jpg", "Ana Anic")


def test_a_symbolic_link_to_the_gallery_makes_no_difference(tmp_path: Path) -> None:
    (tmp_path / "disk" / "Ana").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk")

    assert _people([f"{tmp_path}/disk/Ana/1.jpg"], "serbia", tmp_path / "link") == [("Ana/1.jpg", "Ana")]


@pytest.mark.parametrize(
    "folder",
    ["/old/server/serbia", "./galleries/serbia", "galleries/serbia", "D:\\galleries\\Serbia", "\\\\nas\\faces\\serbia"],
)
def test_a_gallery_from_another_machine_is_relative_to_the_folder_named_like_the_domain(folder: str) -> None:
    separator = "\\" if "\\" in folder else "/"
    identities = [separator.join([folder, "Ana Anic", "1.jpg"]), separator.join([folder, "Ana Anic", "2.jpg"])]

    assert _people(identities, "serbia", ELSEWHERE) == [("Ana Anic/1.jpg", "Ana Anic"), ("Ana Anic/2.jpg", "Ana Anic")]


def test_a_pkl_beside_the_folder_of_its_domain_does_not_make_the_folder_a_person(tmp_path: Path) -> None:
    identities = [f"{tmp_path}/serbia/Ana Anic/1.jpg", f"{tmp_path}/serbia/Ivan Ivic/1.jpg"]

    assert [person for _, person in _people(identities, "serbia", tmp_path)] == ["Ana Anic", "Ivan Ivic"]


def test_a_pkl_deep_in_the_folder_of_its_domain_counts_from_its_own_folder(tmp_path: Path) -> None:
    photos = tmp_path / "serbia" / "photos"

    assert _people([f"{photos}/Ana Anic/1.jpg"], "serbia", photos) == [("Ana Anic/1.jpg", "Ana Anic")]


def test_a_gallery_in_no_folder_of_that_name_is_relative_to_its_common_folder() -> None:
    identities = ["/data/faces/Ana Anic/1.jpg", "/data/faces/Ivan Ivic/1.jpg", "/data/faces/Mira Miric_1.jpg"]

    assert [person for _, person in _people(identities, "serbia", ELSEWHERE)] == ["Ana Anic", "Ivan Ivic", "Mira Miric"]


def test_one_person_alone_in_a_strange_gallery_is_found_by_the_folder_when_no_file_holds_a_name() -> None:
    identities = ["/data/faces/Ana Anic/001.jpg", "/data/faces/Ana Anic/IMG_2.jpg"]

    assert _people(identities, "serbia", ELSEWHERE)[0] == ("Ana Anic/001.jpg", "Ana Anic")


def test_a_flat_gallery_is_not_taken_for_one_person() -> None:
    identities = ["/data/faces/Ana Anic_1.jpg", "/data/faces/Ivan Ivic_1.jpg"]

    assert [person for _, person in _people(identities, "serbia", ELSEWHERE)] == ["Ana Anic", "Ivan Ivic"]


def test_relative_paths_without_a_common_folder_stay_as_they_are() -> None:
    assert _people(["Ana/1.jpg", "./Ivan/1.jpg"], "serbia", ELSEWHERE) == [("Ana/1.jpg", "Ana"), ("Ivan/1.jpg", "Ivan")]


def test_an_empty_gallery_has_a_root_too() -> None:
    assert gallery_root([], "serbia", ELSEWHERE) == ""
