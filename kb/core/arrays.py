"""Numpy arrays as parameters of a statement, in PostgreSQL's binary format: no step of Python for each number."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format


class ArrayDumper(Dumper):
    """One-dimensional arrays; the subclass says of which type.

    Dimensions, flags, the elements' type, length and lower bound, then each element after its size:
    array_recv in PostgreSQL's src/backend/utils/adt/arrayfuncs.c.
    """

    format = Format.BINARY
    element_oid: int
    number: str

    def get_key(self, obj: NDArray[Any], format: PyFormat) -> tuple[type, type]:  # noqa: ARG002 (psycopg's name)
        return self.cls, obj.dtype.type

    def upgrade(self, obj: NDArray[Any], format: PyFormat) -> "ArrayDumper":  # noqa: ARG002 (psycopg's name)
        return KINDS[obj.dtype.type](self.cls)

    def dump(self, obj: NDArray[Any]) -> bytes:
        size = np.dtype(self.number).itemsize
        elements = np.empty(len(obj), dtype=[("size", ">i4"), ("value", self.number)])
        elements["size"], elements["value"] = size, obj
        return struct.pack("!5i", 1, 0, self.element_oid, len(obj), 1) + elements.tobytes()


class Integers(ArrayDumper):
    """integer[]"""

    oid, element_oid, number = 1007, 23, ">i4"


class BigIntegers(ArrayDumper):
    """bigint[]"""

    oid, element_oid, number = 1016, 20, ">i8"


class Reals(ArrayDumper):
    """real[]"""

    oid, element_oid, number = 1021, 700, ">f4"


KINDS: dict[type, type[ArrayDumper]] = {np.int32: Integers, np.int64: BigIntegers, np.float32: Reals}


def register(connected: Connection) -> None:
    """Arrays of int32, int64 and float32 become integer[], bigint[] and real[]; others are refused with KeyError."""
    connected.adapters.register_dumper(np.ndarray, ArrayDumper)
