"""Reads a pickle that may be hostile: it can become plain data and NumPy numbers, and nothing in it is run.

A pickle is a program; what it can do is what the names it asks for can do. Here no name resolves to the real thing:
the few that NumPy's arrays and numbers need resolve to stand-ins of this module, which check their arguments and
never allocate more than the bytes that lie in the file. Every other name is refused before anything is looked up.
What is left to an attacker is size and time, so a file that is not trusted belongs in a process with limits on both.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import StoreUnavailable, UnsafePickle

MAX_ARRAY_DIMENSIONS = 2
_NUMBER_TYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_BYTE_ORDERS = frozenset({"<", ">", "=", "|"})
_SHOWN_CHARACTERS = 120

# What the C unpickler raises on bytes that are no pickle, or on stand-ins used in a way no pickle of data uses them.
_CORRUPTIONS = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    SystemError,
)


class NumberType:
    """Stands for a `numpy.dtype` of plain numbers while its pickle is read."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: object, *_align_and_copy: object) -> None:
        if not isinstance(code, str) or code not in _NUMBER_TYPES:
            raise UnsafePickle("The pickle holds an array of other than plain numbers; nothing in it was run.")
        self._code = code
        self._order = "="

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), str(order), None, None, None, *_) if order in _BYTE_ORDERS:
                self._order = order
            case _:
                raise UnsafePickle("The pickle holds an array with fields or of a subtype; nothing in it was run.")

    def to_numpy(self) -> np.dtype[Any]:
        """The real dtype."""
        return np.dtype(self._order + self._code)


class NumberArray:
    """Stands for a `numpy.ndarray` of plain numbers while its pickle is read; `values` holds the real one afterwards.

    The shape given to `_reconstruct` is ignored: the real one comes with the bytes and has to agree with them.
    """

    __slots__ = ("values",)

    def __init__(self, *_kind_shape_type: object) -> None:
        self.values: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple(shape), NumberType() as kind, bool() | int() as fortran, bytes(raw)):
                self.values = _plain_array(raw, kind, shape, "F" if fortran else "C")
            case _:
                raise ValueError("an array without plain bytes")


class Permitted:
    """A name that a pickle may ask for: it can be called as the format does, and nothing else can be done to it."""

    __slots__ = ("_stand_in",)

    def __init__(self, stand_in: Callable[..., object]) -> None:
        self._stand_in = stand_in

    def __call__(self, *arguments: object) -> object:
        return self._stand_in(*arguments)

    def __setstate__(self, state: object) -> None:
        raise UnsafePickle("The pickle tries to change one of the functions that read it; nothing in it was run.")


def _plain_array(raw: bytes, kind: NumberType, shape: tuple[Any, ...], order: Literal["C", "F"]) -> NDArray[Any]:
    if len(shape) > MAX_ARRAY_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("an array of an impossible shape")
    dtype = kind.to_numpy()
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError("an array whose shape and bytes differ")
    return np.frombuffer(raw, dtype=dtype).reshape(shape, order=order)


def _array_from_buffer(raw: object, kind: object, shape: object, order: object, *_axes: object) -> NumberArray:
    """Protocol 5: `numpy.core.numeric._frombuffer`."""
    match raw, kind, shape, order:
        case (bytes() | bytearray(), NumberType(), tuple(), "C" | "F"):
            array = NumberArray()
            array.values = _plain_array(bytes(raw), kind, shape, order)
            return array
        case _:
            raise ValueError("an array without plain bytes")


def _number(kind: object, raw: object) -> int | float | bool:
    """`numpy.core.multiarray.scalar`: one number, as Python has it."""
    if not (isinstance(kind, NumberType) and isinstance(raw, bytes)):
        raise ValueError("a number without plain bytes")
    number: int | float | bool = _plain_array(raw, kind, (), "C").item()
    return number


def _latin1_bytes(text: object, encoding: object) -> bytes:
    """`_codecs.encode`: how protocols 0 to 2 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise UnsafePickle("The pickle asks for a codec other than the one that carries bytes; nothing in it was run.")
    return text.encode("latin1")


_ARRAY_CLASS = object()  # `numpy.ndarray` is only ever handed on to `_reconstruct`, which ignores it

_ARRAY_PARTS: tuple[tuple[str, str, Callable[..., object]], ...] = (
    ("multiarray", "_reconstruct", NumberArray),
    ("multiarray", "scalar", _number),
    ("numeric", "_frombuffer", _array_from_buffer),
)
_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "dtype"): NumberType,
    ("_codecs", "encode"): _latin1_bytes,
    **{(f"numpy.core.{module}", name): stand_in for module, name, stand_in in _ARRAY_PARTS},
    **{(f"numpy._core.{module}", name): stand_in for module, name, stand_in in _ARRAY_PARTS},  # since NumPy 2
}


class PlainDataUnpickler(pickle.Unpickler):
    """An unpickler that resolves no name of Python, only the stand-ins above."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The stand-in for a permitted name.

        :raises UnsafePickle: for every other name, naming it.
        """
        if (module_name, global_name) == ("numpy", "ndarray"):
            return _ARRAY_CLASS
        stand_in = _STAND_INS.get((module_name, global_name))
        if stand_in is None:
            asked = ascii(f"{module_name}.{global_name}")[:_SHOWN_CHARACTERS]
            raise UnsafePickle(f"The pickle asks for {asked}, which is not plain data; nothing in it was run.")
        return Permitted(stand_in)

    def persistent_load(self, pid: Any) -> Any:
        """Refused: a gallery's pickle refers to nothing outside itself."""
        raise UnsafePickle("The pickle refers to an object outside itself; nothing in it was run.")


def load_plain(file: BinaryIO) -> object:
    """The data in a pickle: containers, strings, numbers, None and `NumberArray`.

    :raises UnsafePickle: it asks for anything else; nothing was run.
    :raises StoreUnavailable: code `pkl_corrupt`, it is truncated or no pickle, or larger than the memory allows.
    """
    try:
        return PlainDataUnpickler(file).load()
    except _CORRUPTIONS as exc:
        raise StoreUnavailable(
            "The gallery file is truncated, no pickle, or asks for more memory than there is."
            " Restore it from a backup or build it anew.",
            code="pkl_corrupt",
        ) from exc
