"""Where DeepFace would download a weights file from, and the download itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from app.adapters import deepface_library
from app.adapters.deepface_library import Task
from app.adapters.face_models import Engine


def weights_sources(task: Task, name: str, engine: Engine, file_name: str) -> tuple[str, ...]:
    """The addresses DeepFace itself would download a weights file from, best first.

    Its modules are read and not imported, because importing a TensorFlow model imports TensorFlow.
    """
    source = deepface_library.model_source(task, name, engine)
    assignments = [node for node in ast.walk(source) if isinstance(node, ast.Assign | ast.Call)]
    known: dict[str, None] = {}
    for node in assignments:
        texts = list(_texts(node))
        addresses = [text for text in texts if text.startswith("https://")]
        if addresses and any(_names(text, file_name) for text in texts):
            return tuple(addresses)
        known.update(dict.fromkeys(addresses))
    # Two models' addresses do not end with the file's name; they are the only ones in their modules.
    return tuple(known) if len(known) == 1 else ()


def download_weights(file_name: str, sources: tuple[str, ...], home: Path, engine: Engine) -> Path:
    """Have DeepFace download (and unpack) one weights file into an empty DEEPFACE_HOME, silently.

    :return: where it is, below `home`.
    :raises StartupError: no source could be reached.
    """
    deepface_library.set_environment(home, engine)
    target = home / ".deepface" / "weights" / file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    compression = next((kind for kind in ("zip", "bz2") if sources[0].endswith(f".{kind}")), None)
    deepface_library.download(file_name, sources, compression)
    return target


def _texts(node: ast.AST) -> Iterator[str]:
    return (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))


def _names(text: str, file_name: str) -> bool:
    return text.removesuffix(".bz2").removesuffix(".zip").rpartition("/")[2] == file_name
