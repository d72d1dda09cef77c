"""Whose face it is: the person's name, and the image's path within its gallery, both read off a file's path.

One rule for every gallery and script, so that the same image has the same person and the same path everywhere.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

_IMAGE_EXTENSION = re.compile(r"(\.(jpe?g|png|webp|bmp|gif|tiff?|hei[cf]|avif))+$", re.IGNORECASE)
# What file managers, messengers and people append to tell files of one name apart.
_COUNTER = re.compile(
    r"""( \s* [(\[] \s* \d+ \s* [)\]]                     # Ana Anic (3)
        | [\s_-]+ wa \d+                                 # IMG-20240101-WA0003
        | [\s_.#-]* \d+                                  # Ana_Anic_12, Ana Anic 04, Ana Anic2, Ana_Anic-1-2
        | [\s_-]+ (copy|kopija|kopie|копија|копия)       # Ana Anic - Copy
        )$""",
    re.IGNORECASE | re.VERBOSE,
)
_SEPARATORS = " _.-–—#"  # noqa: RUF001 -- file managers write both dashes before "Copy"
# What cameras put where a name would be: without its counter it is still nobody's name.
_CAMERA = re.compile(r"(img|dsc[nf]?|pxl|vid|image|photo|foto|slika|screenshot)?", re.IGNORECASE)


def person_name(relative_path: str) -> str:
    """The person an image of a gallery shows: its folder's name, or what its file name says.

    In a folder: the first folder below the gallery's root, as it is written. A flat file: its name without extension
    and without the counters at its end, `_` read as a space; hyphens stay, because they join double names. A file
    name that is nothing but a counter (`001.jpg`, `IMG_2041.jpg`) stays whole, so that strangers are not merged.

    :param relative_path: path of the image below the gallery's root, with `/` (see `relative_image`).
    :return: the name in Unicode NFC, with single spaces.
    """
    parts = [part for part in relative_path.split("/") if part not in ("", ".")]
    if len(parts) > 1:
        return _tidy(parts[0])
    stem = _IMAGE_EXTENSION.sub("", parts[0]) if parts else relative_path
    return _tidy(_without_counters(stem).replace("_", " ")) or _tidy(stem)


def has_image_extension(file_name: str) -> bool:
    """Whether the file's extension is one of a photo."""
    return _IMAGE_EXTENSION.search(file_name) is not None


def gallery_root(identities: Iterable[str], domain: str, pkl_dir: Path) -> str:
    """The folder that the images of a PKL are relative to, whatever machine the PKL was written on.

    The PKL's own folder where all images lie below it, or their common folder cut after its last component named like
    the domain, whichever is deeper; where neither is there, their common folder, or the one above it if no file name
    holds a name (a gallery of one person: the common folder is that person's).

    :param identities: paths as DeepFace walked them: absolute or relative, with `/` or Windows separators.
    :param pkl_dir: the folder the PKL lies in.
    :return: a normalised path with `/`, or an empty string where the images share no folder.
    """
    paths = [_normalised(identity) for identity in identities]
    common = _common_folder(paths)
    own = {_normalised(str(folder)) for folder in (pkl_dir, pkl_dir.absolute(), pkl_dir.resolve())}
    roots = [folder for folder in own if _prefix(common).startswith(_prefix(folder))]
    roots += _cut_after(domain, common)
    if any(roots):
        return max(roots, key=len)
    return common if any(_holds_name(path, common) for path in paths) else posixpath.dirname(common)


def relative_image(identity: str, root: str) -> str:
    """The image's path below the gallery's root, with `/`: how both galleries name an image.

    :param identity: the path as DeepFace walked it.
    :param root: what `gallery_root` gave; an identity that does not lie below it keeps its whole path.
    """
    return _normalised(identity).removeprefix(_prefix(root)).lstrip("/")


def _without_counters(stem: str) -> str:
    """The stem without what is appended to tell files apart; empty where nothing else is in it."""
    name = stem
    while name != (shorter := _COUNTER.sub("", name).rstrip(_SEPARATORS)):
        name = shorter
    return "" if _CAMERA.fullmatch(name) else name


def _tidy(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split()))


def _normalised(path: str) -> str:
    flat = posixpath.normpath(path.replace("\\", "/"))
    return "" if flat == "." else re.sub("^//", "/", flat)


def _prefix(root: str) -> str:
    return root if root in ("", "/") else f"{root}/"


def _common_folder(paths: Sequence[str]) -> str:
    """The longest folder that all paths share; empty where there is none (two drives, a bare file name)."""
    folders = {posixpath.dirname(path) for path in paths}
    if not folders or len({folder.startswith("/") for folder in folders}) > 1:
        return ""
    return posixpath.commonpath(folders)


def _cut_after(domain: str, folder: str) -> list[str]:
    """`folder` up to its last component named like the domain, if any; upper and lower case are one on Windows."""
    parts = folder.split("/")
    places = [place for place, part in enumerate(parts) if part.casefold() == domain.casefold()]
    return ["/".join(parts[: places[-1] + 1])] if places else []


def _holds_name(path: str, root: str) -> bool:
    """Whether a person's name can be read off this path, once it is taken as relative to `root`."""
    relative = path.removeprefix(_prefix(root))
    return "/" in relative or bool(_without_counters(_IMAGE_EXTENSION.sub("", relative)))
