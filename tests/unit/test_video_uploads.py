"""A video on its way in leaves room on the disk for what else lies there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from app.errors import StoreUnavailable
from app.services.video.uploads import MIB, UploadFolder


class Usage(NamedTuple):
    free: int


def test_a_disk_that_fills_while_a_video_arrives_ends_it_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [1024 * MIB]
    monkeypatch.setattr("app.services.video.uploads.shutil.disk_usage", lambda _: Usage(free[0]))
    folder = UploadFolder(tmp_path, 1024 * MIB)
    folder.require_room(200 * MIB)
    with pytest.raises(StoreUnavailable) as refused, folder.receiving() as upload:
        upload.write(bytes(60 * MIB))
        free[0] = 100 * MIB  # other videos came
        upload.write(bytes(3 * MIB))
        for _ in range(64):
            upload.write(bytes(MIB))
    assert refused.value.error_code == "disk_full"
    assert upload.size == 64 * MIB
    assert list(tmp_path.iterdir()) == []
