"""What compiled code asks of the processor that Python has no word for: addresses, bits, 64 bytes at once.

Written in LLVM's own instructions and not in those of one processor: where it has vectors they are few, where it has
none they do the same. The first byte is the lowest, as on every processor that numba knows.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import int64, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

inner = numba.njit(nogil=True, boundscheck=False, error_model="numpy")
"""For what is compiled into kernels: they are kept on disk, it is not."""

_instructions: Any = intrinsic  # which gives the first argument itself
LANES = 16
"""Random orders, of 32 bits, that are looked at at once."""
_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_VECTOR = ir.VectorType(_BYTE, 64)


@_instructions
def _pointer(typing_context: Any, address: Any) -> Any:
    """An address as a pointer to bytes."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.CPointer(types.uint8)(types.int64), build


@inner
def text_at(address, size):
    """The `size` bytes at an address."""
    return carray(_pointer(int64(address)), size)


@_instructions
def _anything(typing_context: Any, address: Any) -> Any:
    """An address as a pointer to what has no type."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), build


@inner
def bare(array):
    """An array of one dimension without the count of who uses it: to keep that takes longer than a few words do.

    The array itself must be mentioned after the last use of this, as in `outlives(array)`: it is freed after that.
    """
    return carray(_anything(array.ctypes.data), array.size, array.dtype)


@inner
def outlives(owner):
    """Nothing is done with it, but until here it is there."""


@_instructions
def eight_bytes(typing_context: Any, address: Any) -> Any:
    """The 8 bytes at an address, the first one lowest."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = builder.load(builder.inttoptr(arguments[0], _WORD.as_pointer()))
        found.align = 1
        return found

    return types.uint64(types.int64), build


@_instructions
def zeros_below(typing_context: Any, bits: Any) -> Any:
    """How many bits are 0 below the lowest that is 1: 64 where none is."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


@_instructions
def ones(typing_context: Any, bits: Any) -> Any:
    """How many bits are 1."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), build


@_instructions
def lower_64(typing_context: Any, source: Any, into: Any, runs: Any) -> Any:
    """Copy 64 bytes from one address to another, letters of ASCII in lower case; a bit for each that is in no run.

    `runs` are the first byte and the length of four runs of bytes, and what is added to an upper-case letter.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def all_of(byte: Any) -> Any:
            one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), byte, ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
            return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)

        def within(first: Any, count: Any) -> Any:
            return builder.icmp_unsigned("<", builder.sub(found, first), count)

        found = builder.load(builder.inttoptr(arguments[0], _VECTOR.as_pointer()))
        found.align = 1
        *spans, lower = (all_of(builder.extract_value(arguments[2], k)) for k in range(9))
        inside = within(spans[0], spans[1])
        for k in (2, 4, 6):
            inside = builder.or_(inside, within(spans[k], spans[k + 1]))
        upper = builder.sext(within(all_of(ir.Constant(_BYTE, 65)), all_of(ir.Constant(_BYTE, 26))), _VECTOR)
        lowered = builder.add(found, builder.and_(upper, lower))
        builder.store(lowered, builder.inttoptr(arguments[1], _VECTOR.as_pointer())).align = 1
        return builder.not_(builder.bitcast(inside, _WORD))

    return types.uint64(types.int64, types.int64, runs), build


@_instructions
def widen(typing_context: Any, least: Any, greatest: Any, hashes: Any, count: Any, factors: Any) -> Any:
    """Lower each of LANES minima, and raise each of LANES maxima, to those of a * x modulo 2^32.

    x are the upper halves of `count` hashes of 64 bits. All but `count` are addresses: of LANES numbers of 32 bits
    each, and of the hashes. What is compared stays in registers while the hashes pass by.
    """
    vector = ir.VectorType(ir.IntType(32), LANES)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def all_of(number: Any) -> Any:
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

        def at(address: Any) -> Any:
            return builder.inttoptr(address, vector.as_pointer())

        def read(address: Any) -> Any:
            found = builder.load(at(address))
            found.align = 4
            return found

        low, high, hashes, count, factors = arguments
        a = read(factors)
        # Registers: nothing takes the address of either.
        least, greatest = (cgutils.alloca_once_value(builder, read(into)) for into in (low, high))
        with cgutils.for_range(builder, count) as loop:
            upper = builder.add(
                builder.add(hashes, ir.Constant(_WORD, 4)), builder.shl(loop.index, ir.Constant(_WORD, 3))
            )
            x = builder.load(builder.inttoptr(upper, ir.IntType(32).as_pointer()))
            found = builder.mul(a, all_of(x))
            for sign, end in (("<", least), (">", greatest)):
                known = builder.load(end)
                builder.store(builder.select(builder.icmp_unsigned(sign, found, known), found, known), end)
        for end, into in ((least, low), (greatest, high)):
            builder.store(builder.load(end), at(into)).align = 4
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64, types.int64, types.int64), build
