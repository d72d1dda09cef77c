"""Hostile pickles run nothing: each payload here would leave a marker file behind if a line of it were executed."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapters.pkl.safe_unpickler import NumberArray, load_plain
from app.errors import StoreUnavailable, UnsafePickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Reduces:
    """Pickles as a call: what every exploit generator emits."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _stack_global(module: str, name: str) -> bytes:
    text = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
    return b"\x80\x04" + text + b"\x93"


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _load(payload: bytes) -> object:
    return load_plain(io.BytesIO(payload))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it_ran"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_calls_of_dangerous_functions_are_refused_and_not_run(marker: Path, protocol: int) -> None:
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    for exploit in (
        Reduces(os.system, command),
        Reduces(builtins.eval, code),
        Reduces(builtins.exec, code),
        Reduces(builtins.open, str(marker), "w"),
        Reduces(builtins.__import__, "os"),
        Reduces(getattr, [], "append"),
        [{"identity": "a.jpg", "embedding": Reduces(os.system, command)}],
    ):
        with pytest.raises(UnsafePickle, match="nothing in it was run"):
            _load(pickle.dumps(exploit, protocol))
    assert not marker.exists()


def test_a_call_nested_in_the_arguments_of_a_permitted_one_is_refused(marker: Path) -> None:
    dtype_of_a_command = Reduces(np.dtype, Reduces(os.system, f"touch {marker}"))

    with pytest.raises(UnsafePickle, match="system"):
        _load(pickle.dumps(dtype_of_a_command))
    assert not marker.exists()


def test_the_refusal_names_what_was_asked_for() -> None:
    with pytest.raises(UnsafePickle, match=r"'posix\.system'"):
        _load(_global("posix", "system") + b".")


def test_a_name_made_to_forge_log_lines_is_shown_escaped_and_short() -> None:
    with pytest.raises(UnsafePickle) as refused:
        _load(_stack_global("a\nroot logged in", "b" * 200) + b".")
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 250


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "f2py.os.system"),
        ("numpy", "dtype.__class__"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy.core.multiarray", "fromfile"),
        ("_codecs", "lookup"),
        ("_codecs", "encode.__self__"),
        ("app.adapters.pkl.safe_unpickler", "load_plain"),
        ("builtins", "getattr"),
        ("operator", "attrgetter"),
        ("functools", "partial"),
        ("copyreg", "_reconstructor"),
        ("pandas.core.frame", "DataFrame"),
    ],
)
def test_every_name_that_is_not_on_the_list_is_refused_in_each_way_of_asking(module: str, name: str) -> None:
    instance = b"(i" + f"{module}\n{name}\n.".encode()
    for payload in (_global(module, name) + b".", _stack_global(module, name) + b".", instance):
        with pytest.raises(UnsafePickle):
            _load(payload)


def test_objects_outside_the_pickle_are_refused() -> None:
    for payload in (b"Pid\n.", b"(S'os'\nQ."):
        with pytest.raises(UnsafePickle, match="outside itself"):
            _load(payload)


def test_codes_of_the_extension_registry_lead_nowhere() -> None:
    for payload in (b"\x80\x02\x82\x01.", b"\x80\x02\x83\x01\x00.", b"\x80\x02\x84\x01\x00\x00\x00."):
        with pytest.raises(StoreUnavailable) as refused:
            _load(payload)
        assert refused.value.error_code == "pkl_corrupt"


def test_the_functions_that_read_a_pickle_cannot_be_changed_by_it() -> None:
    state = b"}" + _text("__code__") + _text("x") + b"s"
    with pytest.raises(UnsafePickle, match="change one of the functions"):
        _load(b"\x80\x02" + _global("numpy", "dtype") + state + b"b.")
    with pytest.raises(UnsafePickle, match="change one of the functions"):
        _load(b"\x80\x02" + _global("_codecs", "encode") + b"N" + state + b"\x86b.")


def test_permitted_names_cannot_be_used_as_classes() -> None:
    new_object = b"\x80\x02" + _global("numpy", "dtype") + b"(" + _text("f4") + b"t\x81."
    for payload in (new_object, b"\x80\x02" + _global("numpy", "ndarray") + b")R."):
        with pytest.raises(StoreUnavailable):
            _load(payload)


@pytest.mark.parametrize("code", ["O8", "V8", "U4", "S4", "M8", "c16", "O", "object", "f4,O"])
def test_arrays_of_anything_but_plain_numbers_are_refused(code: str) -> None:
    with pytest.raises(UnsafePickle, match="plain numbers"):
        _load(pickle.dumps(Reduces(np.dtype, code, False, True)))


def test_arrays_of_objects_and_of_records_as_numpy_writes_them_are_refused() -> None:
    records = np.zeros(2, dtype=[("a", "f4"), ("b", "i4")])
    for array in (np.array([None, "x"], dtype=object), records, np.array(["text"])):
        with pytest.raises(UnsafePickle):
            _load(pickle.dumps(array))


def test_a_subclass_of_arrays_is_refused(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "mapped", dtype="f4", mode="w+", shape=(3,))
    with pytest.raises(UnsafePickle, match="memmap"):
        _load(pickle.dumps(mapped))


def _array_pickle(shape: bytes, raw: bytes) -> bytes:
    """A pickled float32 array with any shape and bytes."""
    dtype = _global("numpy", "dtype") + b"(" + _text("f4") + b"\x89\x88tR"
    made = _global("numpy.core.multiarray", "_reconstruct") + b"(" + _global("numpy", "ndarray") + shape + b"C\x01btR"
    return b"\x80\x03" + made + b"(K\x01" + shape + dtype + b"\x89B" + struct.pack("<I", len(raw)) + raw + b"tb."


def test_an_array_takes_no_more_memory_than_its_bytes_whatever_shape_it_declares() -> None:
    giant = b"(\x8a\x08" + struct.pack("<q", 2**60) + b"t"
    for shape in (giant, b"(" + giant[1:-1] * 2 + b"t", b"(K\x03t", b"(J\xff\xff\xff\xfft", b"(K\x01K\x01K\x01t"):
        with pytest.raises(StoreUnavailable):
            _load(_array_pickle(shape, b"\0\0\0\0"))
    array = _load(_array_pickle(b"(K\x01t", struct.pack("<f", 1.5)))
    assert isinstance(array, NumberArray)
    assert array.values.tolist() == [1.5]


def test_declared_lengths_beyond_the_file_are_damage_and_not_memory() -> None:
    length = struct.pack("<Q", 2**62)
    for payload in (
        b"\x80\x04\x95" + length + b"N.",
        b"\x80\x04\x8e" + length + b"ab.",
        b"\x80\x05\x96" + length + b"ab.",
        b"\x80\x04\x8d" + length + b"ab.",
    ):
        with pytest.raises(StoreUnavailable) as refused:
            _load(payload)
        assert refused.value.error_code == "pkl_corrupt"


def test_lists_nested_out_of_all_proportion_are_not_followed_to_describe_an_error() -> None:
    each_holds_the_last_twice = b"".join(b"]q%c(h%ch%ce" % (level + 1, level, level) for level in range(60))
    with pytest.raises(UnsafePickle):
        _load(b"\x80\x02" + _global("numpy", "dtype") + b"(]q\x00" + each_holds_the_last_twice + b"tR.")


@pytest.mark.parametrize(
    "payload", [b"", b".", b"not a pickle", b"\x80\x04", b"\x80\xff.", b"(lp0\n", b"\x80\x04K\x01"]
)
def test_damaged_files_are_told_from_hostile_ones(payload: bytes) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        _load(payload)
    assert refused.value.error_code == "pkl_corrupt"


def test_a_pickle_cut_anywhere_is_damage_and_never_another_error() -> None:
    whole = pickle.dumps([{"identity": "a/1.jpg", "embedding": [0.5] * 4, "target_x": np.int64(3)}], 4)
    for end in range(len(whole)):
        with pytest.raises(StoreUnavailable):
            _load(whole[:end])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_and_numpy_numbers_are_read_in_every_protocol(protocol: int) -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    data = {
        "text": "Žaklina",
        "none": None,
        "numbers": [1, 2.5, True, 10**30],
        "tuple": (1, (2,)),
        "bytes": b"\xff\x00",
    }
    arrays = [np.array([1.5, -2.0], "f4"), np.array([1, 2], ">i2"), matrix, np.asfortranarray(matrix), matrix[:, ::2]]
    scalars = [np.float32(1.5), np.float64(0.1), np.int64(-3), np.bool_(True)]

    loaded = _load(pickle.dumps([data, arrays, scalars], protocol))

    assert isinstance(loaded, list)
    assert loaded[0] == data
    assert [array.values.tolist() for array in loaded[1]] == [array.tolist() for array in arrays]
    assert loaded[2] == [1.5, 0.1, -3, True]
    assert all(type(number) in (int, float, bool) for number in loaded[2])


def test_arrays_pickled_by_numpy_1_are_read() -> None:
    by_numpy_2 = pickle.dumps(np.array([1.0, 2.0], "f4"), 2)
    by_numpy_1 = by_numpy_2.replace(b"numpy._core", b"numpy.core")
    assert by_numpy_1 != by_numpy_2

    array = _load(by_numpy_1)

    assert isinstance(array, NumberArray)
    assert array.values.tolist() == [1.0, 2.0]
