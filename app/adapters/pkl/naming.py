"""What the names of DeepFace's gallery files record, and which file of a folder belongs to a spec.

The names, newest first (deepface/modules/recognition.py of 0.0.102, 0.0.90, 0.0.86 and DeepFace.py of 0.0.40):
`ds_model_{model}_detector_{detector}_{aligned|unaligned}_normalization_{n}_expand_{k}.npz` and `.pkl`,
`ds_{model}_{detector}_v2.pkl` and `representations_{model}.pkl`; lower case, `-` removed (in the oldest: `_` for `-`).

A gallery of another pipeline than `deepface` is written by us alone, under the newest names with the pipeline before
them (`fast_ds_model_…`): DeepFace, which would compare its own vectors with it, does not find it. Whatever has not
that name is DeepFace's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from app.domain import DEEPFACE_PIPELINE, EmbeddingSpec

_GENERATIONS = (
    re.compile(
        r"((?P<pipeline>fast)_)?ds_model_(?P<model>.+)_detector_(?P<detector>.+)_(?P<align>aligned|unaligned)"
        r"_normalization_(?P<normalization>.+)_expand_(?P<expand_percentage>\d+)\.(pkl|npz)"
    ),
    re.compile(r"ds_(?!model_)(?P<model>.+)_(?P<detector>[^_]+)_v2\.pkl"),
    re.compile(r"representations_(?P<model>.+)\.pkl"),
)
_WHAT_TO_DO = (
    "Set FACE_PIPELINE, FACE_MODEL, FACE_DETECTOR, FACE_ALIGN, FACE_NORMALIZATION and FACE_EXPAND_PERCENTAGE to what"
    " the file was embedded with, or embed the gallery anew."
)


def recorded_spec(path: Path) -> dict[str, Any]:
    """What the file's name records of its spec; the older the generation, the less.

    :return: `pipeline`, and some of `model`, `detector`, `normalization` (as DeepFace writes them into names), `align`
        (bool) and `expand_percentage` (int).
    """
    found = _generation(path)
    recorded = {field: _parsed(field, text) for field, text in found.groupdict().items() if text} if found else {}
    return {"pipeline": DEEPFACE_PIPELINE} | recorded


def require_recorded_spec(path: Path, spec: EmbeddingSpec) -> None:
    """Refuse a file whose name records another spec; what it leaves out (never the pipeline) is not held against it.

    :raises SpecMismatch: with what differs and what to do.
    """
    spec.require_match(_recorded_as_we_write(path, spec), path.name, _WHAT_TO_DO)


def pkl_names(spec: EmbeddingSpec) -> tuple[str, ...]:
    """The names a gallery file of this spec can have, in the order in which they are taken."""
    written = (text.replace("-", "").lower() for text in (spec.model, spec.detector, spec.normalization))
    model, detector, normalization = written
    aligned = "aligned" if spec.align else "unaligned"
    name = f"ds_model_{model}_detector_{detector}_{aligned}_normalization_{normalization}"
    current = f"{name}_expand_{spec.expand_percentage}"
    if spec.pipeline != DEEPFACE_PIPELINE:
        return f"{spec.pipeline}_{current}.pkl", f"{spec.pipeline}_{current}.npz"
    return (
        f"{current}.pkl",
        f"{current}.npz",
        f"ds_{model}_{detector}_v2.pkl",
        f"representations_{spec.model.replace('-', '_').lower()}.pkl",
    )


def pkl_path(folder: Path, spec: EmbeddingSpec) -> Path | None:
    """The gallery file of a domain's folder that belongs to the spec: DeepFace's exact name first, then older ones.

    :return: None where no gallery file lies in the folder.
    :raises SpecMismatch: there are some, all of other specs.
    """
    for name in pkl_names(spec):
        if (folder / name).is_file():
            return folder / name
    others = [path for path in sorted(folder.glob("*.pkl")) + sorted(folder.glob("*.npz")) if _generation(path)]
    for other in others:
        if not spec.differences(_recorded_as_we_write(other, spec)):
            return other
    if others:
        require_recorded_spec(others[0], spec)
    return None


def _generation(path: Path) -> re.Match[str] | None:
    return next((found for each in _GENERATIONS if (found := each.fullmatch(path.name.lower()))), None)


def _parsed(field: str, text: str) -> str | bool | int:
    if field == "align":
        return text == "aligned"
    if field == "expand_percentage":
        return int(text)
    return _plain(text)


def _plain(text: str) -> str:
    """Model and detector lose their `-` in a name, and the oldest generation made it `_`: compare without both."""
    return text.replace("-", "").replace("_", "").lower()


def _recorded_as_we_write(path: Path, spec: EmbeddingSpec) -> dict[str, Any]:
    """What the name records, in our own spelling where it means the same, so that only real differences are told."""
    ours = spec.to_document()
    recorded = recorded_spec(path)
    same = {field for field, value in recorded.items() if isinstance(value, str) and value == _plain(ours[field])}
    return {field: ours[field] if field in same else value for field, value in recorded.items()}
