"""Made-up profiles of the demo's faces, as a JSONL file and photos: what an operator's own would look like."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

from app.bootstrap import Container
from app.bootstrap_profiles import profile_importer, profile_index, profile_verifier
from app.images import encode_jpeg
from app.services.profiles.entries import read_entries
from scripts import demo_faces

PERSONS = 12  # of the demo's; the others are in no profile
_PLATFORMS = ("twitter", "tiktok", "instagram", "facebook")
_PHOTO_SIDE = 640


def write(folder: Path) -> Path:
    """Write `profiles.jsonl` and the photos that it names below `folder`; the file's path."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    lines = []
    gallery = groupby(demo_faces.gallery_photos(PERSONS), key=lambda photo: photo[0])
    for number, (_, group) in enumerate(gallery):
        names = []
        for place, (_, pixels) in enumerate(group):
            names.append(f"photos/{number + 1:03d}-{place}.jpg")
            (folder / names[-1]).write_bytes(encode_jpeg(pixels, _PHOTO_SIDE))
        entry = {"entity_id": f"demo-{number + 1:03d}", "metadata": _metadata(number), "image": names}
        lines.append(f"{json.dumps(entry)}\n")
    path = folder / "profiles.jsonl"
    path.write_text("".join(lines))
    return path


def fill(container: Container, folder: Path) -> None:
    """Have the demo's profiles in an index that holds none; in another one nothing is changed.

    :param folder: what is imported is written there first.
    :raises AppError: a store or the engine cannot be used.
    """
    with closing(profile_index(container)) as index:
        if profile_verifier(container, index).counts().faces == 0:
            importer = profile_importer(container, index, again=False, workers=1)
            importer.run(read_entries(write(folder)), lambda _: None)


def _metadata(number: int) -> dict[str, Any]:
    """One platform, and for each fourth person a second one."""
    first = number % len(_PLATFORMS)
    used = (first, (first + 1) % len(_PLATFORMS)) if number % 4 == 0 else (first,)
    return {f"{_PLATFORMS[place]}Data": _profile(number, _PLATFORMS[place]) for place in used}


def _profile(number: int, platform: str) -> dict[str, Any]:
    handle = f"demo_person_{number + 1:03d}"
    profile: dict[str, Any] = {
        "name": f"Demo Person {number + 1:03d}",
        "id": f"{platform}-{1000 + number}",
        "profileUrl": f"https://{platform}.example/{handle}",
    }
    if platform == "instagram":
        profile |= {"full_name": profile["name"], "biography": "Made up.", "follower_count": 100 + number}
    return profile
