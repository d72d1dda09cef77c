"""What is kept of a probe face can be read with the key alone, and a wrong key is said before anything is kept."""

from __future__ import annotations

import base64

import pytest

from app.adapters.face_seal import FaceSeal
from app.errors import Conflict, StartupError

KEY, OTHER = (base64.urlsafe_b64encode(bytes([i] * 32)).decode() for i in (1, 2))


def test_what_was_sealed_is_opened_by_the_same_key_and_no_other() -> None:
    sealed = FaceSeal(KEY).seal(b"a vector")
    assert b"a vector" not in sealed
    assert FaceSeal(KEY).open(sealed) == b"a vector"
    with pytest.raises(Conflict, match="another PARITY_KEY"):
        FaceSeal(OTHER).open(sealed)


@pytest.mark.parametrize("key", [None, "", "planted-secret", KEY[:-4], "š" * 32], ids=repr)
def test_a_missing_or_malformed_key_is_refused_with_what_to_do_and_is_not_shown(key: str | None) -> None:
    with pytest.raises(StartupError, match="PARITY_KEY") as caught:
        FaceSeal(key)
    assert "urlsafe_b64encode" in caught.value.message
    assert not key or key not in caught.value.message
