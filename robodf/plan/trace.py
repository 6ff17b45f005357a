"""Lambdas as expressions: `lambda x: x["a"] > 1` is called once with a symbolic row and becomes `col("a") > 1`.

Only code that is safe to trace is traced. The bytecode decides: it may read its argument, constants, and names that
hold constants; it may compute, compare, subscript, build dicts, and call methods of expressions. Anything else (a
branch, a loop, a call of a function, an instruction that is not in the list) and the function runs row by row.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import polars as pl

from robodf.errors import ColumnNotFoundError
from robodf.plan.expr import Expr, Lit
from robodf.plan.symbolic import CONSTANTS, Refused, Row, Tracer, Value, as_condition, constant

# Of Python 3.11 to 3.14. Straight-line code over the stack and local variables; no jumps, no stores but to locals.
_SAFE = frozenset(
    """RESUME NOP CACHE PRECALL PUSH_NULL EXTENDED_ARG COPY_FREE_VARS POP_TOP
    LOAD_FAST LOAD_FAST_CHECK LOAD_FAST_BORROW LOAD_FAST_LOAD_FAST LOAD_FAST_BORROW_LOAD_FAST_BORROW
    STORE_FAST STORE_FAST_LOAD_FAST STORE_FAST_STORE_FAST LOAD_CONST LOAD_SMALL_INT LOAD_DEREF LOAD_GLOBAL
    RETURN_VALUE RETURN_CONST BINARY_OP BINARY_SUBSCR COMPARE_OP UNARY_NEGATIVE UNARY_INVERT UNARY_POSITIVE
    BUILD_MAP BUILD_CONST_KEY_MAP DICT_UPDATE BUILD_LIST BUILD_TUPLE LIST_EXTEND
    LOAD_ATTR LOAD_METHOD KW_NAMES CALL CALL_KW""".split()
)
_WHY = {
    "IS_OP": "it uses `is`",
    "CONTAINS_OP": "it uses `in`",
    "FORMAT_VALUE": "it makes a text of a value",
    "FORMAT_SIMPLE": "it makes a text of a value",
    "BUILD_STRING": "it makes a text of a value",
    "UNARY_NOT": "it decides on a value (and, or, not, if)",
    "TO_BOOL": "it decides on a value (and, or, not, if)",
    "IMPORT_NAME": "it imports a module",
    "MAKE_FUNCTION": "it makes a function",
    "STORE_GLOBAL": "it changes a global variable",
    "STORE_DEREF": "it changes a variable outside of it",
    "STORE_SUBSCR": "it changes a value in place",
    "STORE_ATTR": "it changes a value in place",
    "BINARY_SLICE": "it slices a value",
    "BUILD_SLICE": "it slices a value",
    "BUILD_SET": "it builds a set",
}


@dataclass(frozen=True)
class Traced:
    """The function as an expression (of a condition) or as one expression for each column (of a row)."""

    result: Expr | dict[str, Expr]


@dataclass(frozen=True)
class Untraced:
    """The function runs row by row, for this reason."""

    reason: str


def trace(fn: Callable, schema: Mapping[str, Any]) -> Traced | Untraced:
    """`fn`, a function of a row, as expressions over columns of these types, or why it is not.

    Raises ColumnNotFoundError where `fn` reads a column that is not in the schema.

    >>> import polars as pl
    >>> trace(lambda x: x["a"] * 2 > 1, {"a": pl.Int64()})
    Traced(result=(col("a") * 2) > 1)
    >>> trace(lambda x: {"n": len(x["s"])}, {"s": pl.String()})
    Untraced(reason='it uses len, which is not a constant')
    """
    tracer = Tracer(schema)
    try:
        _check(fn)
        answer = fn(Row(tracer))
        result = _result(answer, tracer)
    except Refused as refusal:
        return Untraced(str(refusal))
    except ColumnNotFoundError:
        raise
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, pl.exceptions.PolarsError) as error:
        text = str(error).strip().splitlines()
        if tracer.doubt:
            return Untraced(tracer.doubt)
        return Untraced(f"as an expression it raises {type(error).__name__}: {text[0] if text else ''}")
    if tracer.doubt and not tracer.written:
        return Untraced(tracer.doubt)
    return Traced(result)


def _result(answer: Any, tracer: Tracer) -> Expr | dict[str, Expr]:
    if isinstance(answer, Value):
        if answer.dtype != pl.Boolean:
            raise Refused(f"it returns {answer.dtype}, neither a condition nor a dict")
        return as_condition(answer.expr)
    if isinstance(answer, Row):
        answer = {name: answer[name] for name in answer.keys()}  # noqa: SIM118 - no iteration over rows
    if type(answer) is not dict:
        raise Refused("it returns neither a condition nor a dict")
    columns: dict[str, Expr] = {}
    for name, value in answer.items():
        if not isinstance(name, str):
            raise Refused(f"it returns a column named {name!r}")
        columns[name] = value.expr if isinstance(value, Value) else Lit(constant(value))
    return columns


def _check(fn: Any) -> None:
    """Refused unless calling `fn` with a symbolic row does nothing but build expressions."""
    if type(fn) is not FunctionType:
        raise Refused(f"it is a {type(fn).__name__}, not a function written in Python")
    code = fn.__code__
    special = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
    if code.co_flags & (special | inspect.CO_ASYNC_GENERATOR):
        raise Refused("it takes *args, or is a generator or a coroutine")
    defaults = fn.__defaults__ or ()
    if code.co_argcount < 1 or code.co_kwonlyargcount or code.co_argcount - len(defaults) > 1:
        raise Refused("it does not take one argument, the row")
    _constants("a default", defaults[-(code.co_argcount - 1) :] if code.co_argcount > 1 else ())
    for cell, name in zip(fn.__closure__ or (), code.co_freevars):
        try:
            _constants(name, (cell.cell_contents,))
        except ValueError:  # an empty cell
            raise Refused(f"it uses {name}, which has no value yet") from None
    for instruction in dis.get_instructions(code):
        _check_instruction(instruction, fn.__globals__)


def _check_instruction(instruction: dis.Instruction, names: Mapping[str, Any]) -> None:
    operation = instruction.opname
    if operation == "CALL_INTRINSIC_1" and instruction.argrepr == "INTRINSIC_UNARY_POSITIVE":
        return
    if operation not in _SAFE:
        if "JUMP" in operation or operation in ("COPY", "SWAP"):  # a chained comparison starts with these
            raise Refused("it decides on a value (and, or, not, if)")
        raise Refused(_WHY.get(operation, f"it does more than compute ({operation})"))
    if operation == "LOAD_GLOBAL":
        name = instruction.argval
        if name not in names:
            raise Refused(f"it uses {name}, which is not a constant")
        _constants(name, (names[name],))
    if operation in ("LOAD_ATTR", "LOAD_METHOD") and str(instruction.argval).startswith("_"):
        raise Refused(f"it uses .{instruction.argval}")


def _constants(name: str, values: tuple) -> None:
    for value in values:
        if type(value) not in CONSTANTS:
            raise Refused(f"it uses {name}, which is not a constant")
