"""robodf's expressions: columns, literals, calls recorded by name, and Polars expressions kept whole.

`col("x").str.contains("a")` becomes `Call("str.contains", (Col("x"), "a"))` and is replayed on Polars by attribute
access, so every function of Polars' expressions is here without a line of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from robodf.errors import OptionError, hint
from robodf.plan.node import Node, Pairs, lazy, node, walk
from robodf.plan.rowwise import may_raise, reads_one_row

if TYPE_CHECKING:  # editors and type checkers then show Polars' own methods and docstrings
    _PolarsMethods = pl.Expr
else:
    _PolarsMethods = object

_NAMESPACES = frozenset({"str", "dt", "list", "arr", "struct", "cat", "bin", "name", "ext", "map"} & set(dir(pl.Expr)))
_PROBE = pl.col("probe")  # says which methods this version of Polars has
KERNEL = "robodf."  # of the functions that Polars lacks: see plan/kernels.py
_BINARY = "add sub mul truediv floordiv mod pow and or xor".split()
_COMPARE = "eq ne lt le gt ge".split()
_UNARY = "neg pos invert abs".split()


class Expr(Node, _PolarsMethods):  # pyright: ignore[reportGeneralTypeIssues] - two metaclasses, one at run time
    """An expression over the columns of a frame. Make one with `rd.col`, `rd.lit`, `rd.when` and the like.

    >>> import robodf as rd
    >>> (rd.col("speed") > 0.5) & rd.col("name").str.starts_with("arm")
    (col("speed") > 0.5) & col("name").str.starts_with('arm')
    """

    # -- what the planner asks ------------------------------------------------------------------------------

    @lazy
    def polars(self) -> pl.Expr:
        """The same expression for the Polars that is installed here."""
        raise NotImplementedError

    @lazy
    def columns(self) -> frozenset[str]:
        """The names of the columns that it reads (of a resolved expression: one without wildcards)."""
        return frozenset(self.polars.meta.root_names())

    @lazy
    def rowwise(self) -> bool:
        """True where each output row depends on the same input row alone."""
        return all(_is_rowwise(n) for n in walk(self))

    @lazy
    def movable(self) -> bool:
        """True where evaluating it on more rows changes nothing and cannot raise: row-wise and total."""
        return self.rowwise and not any(_may_raise(n) for n in walk(self) if isinstance(n, Call))

    @lazy
    def transparent(self) -> bool:
        """True where every column that it reads is a `Col` in its tree, so that columns can be replaced in it."""
        return _leaves(self, {}) == len(self.polars.meta.root_names())

    # -- what users type ------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # probes such as __array__ or _repr_html_ must get the answer "no"
            raise AttributeError(name)
        if name == "meta":
            return self.polars.meta
        if name not in _NAMESPACES and not callable(getattr(_PROBE, name, None)):
            raise AttributeError(f"expressions have no method {name!r}{hint(name, dir(_PROBE))}")
        return Method(self, name)

    def __dir__(self) -> Iterable[str]:
        return sorted({*object.__dir__(self), *(n for n in dir(_PROBE) if not n.startswith("_"))})

    # Names of `Node` that are functions of Polars' expressions as well: users get Polars'.
    replace = property(lambda self: Method(self, "replace"))  # type: ignore[assignment]
    map = property(lambda self: self.__getattr__("map"))  # type: ignore[assignment]

    # So that NumPy's scalars leave `np.float64(2) * col("a")` to the expression.
    __array_ufunc__ = None  # type: ignore[assignment]

    @lazy
    def depth(self) -> int:
        """How many levels of expressions it has."""
        return 1 + max((c.depth for c in self.children() if isinstance(c, Expr)), default=0)

    def pipe(self, function: Callable, *args, **kwargs) -> Any:
        """`function(self, *args, **kwargs)`."""
        return function(self, *args, **kwargs)

    def __bool__(self) -> bool:
        raise TypeError(
            "an expression has no truth value until the query runs: combine expressions with & | ~ instead of "
            "and, or, not; write is_in([...]) instead of `in`, is_between(a, b) instead of a <= x <= b"
        )

    def __repr__(self) -> str:
        return render(self)

    __hash__ = object.__hash__


@node
class Col(Expr):
    """A column by name."""

    ref: str

    @lazy
    def polars(self) -> pl.Expr:
        return pl.col(self.ref)


@node
class Lit(Expr):
    """A constant."""

    value: Any
    dtype: Any = None

    @lazy
    def polars(self) -> pl.Expr:
        return pl.lit(thaw(self.value), dtype=self.dtype)


@node
class Call(Expr):
    """A function by name.

    `pl.f` is Polars' function `f`, `robodf.f` a kernel of ours; any other name is a method of the first argument.
    """

    fn: str
    args: tuple
    options: tuple = ()

    @lazy
    def polars(self) -> pl.Expr:
        args = [thaw(a) for a in self.args]
        options = {name: thaw(value) for name, value in self.options}
        if self.fn == "pl.when":
            return _when(args)
        if self.fn.startswith(KERNEL):
            from robodf.plan.kernels import lowered

            return lowered(self.fn, args, options)
        if self.fn.startswith("pl."):
            return getattr(pl, self.fn[3:])(*args, **options)
        target = args[0]
        for part in self.fn.split("."):
            target = getattr(target, part)
        return target(*args[1:], **options)


@node
class Native(Expr):
    """A Polars expression kept whole: it runs and names its columns, but it is not pushed down."""

    expr: Any

    @lazy
    def polars(self) -> pl.Expr:
        return self.expr


def _when(args: list) -> pl.Expr:
    """Replays when(p1, v1, p2, v2, ..., otherwise)."""
    *pairs, default = args
    chain: Any = pl
    for condition, value in zip(pairs[::2], pairs[1::2]):
        chain = chain.when(condition).then(value)
    return chain.otherwise(default)


class Method:
    """`col("x").str.contains`, waiting to be called."""

    def __init__(self, on: Expr, path: str):
        self._on, self._path = on, path
        if path not in _NAMESPACES:
            target: Any = _PROBE
            for part in path.split("."):
                target = getattr(target, part)
            self.__doc__ = target.__doc__

    def __getattr__(self, name: str) -> Method:
        space = getattr(_PROBE, self._path, None) if self._path in _NAMESPACES else None
        if name.startswith("_") or space is None:
            raise AttributeError(f"{self._path!r} is a method: call it, {self._path}(...), before .{name}")
        if not hasattr(space, name):
            raise AttributeError(f"expressions have no method {self._path}.{name!r}{hint(name, dir(space))}")
        return Method(self._on, f"{self._path}.{name}")

    def __dir__(self) -> Iterable[str]:
        return dir(getattr(_PROBE, self._path)) if self._path in _NAMESPACES else []

    def __call__(self, *args: Any, **options: Any) -> Expr:
        if self._path in _NAMESPACES:
            raise TypeError(f".{self._path} is a namespace: write .{self._path}.<method>(...)")
        call = Call(self._path, (self._on, *map(freeze, args)), _freeze_options(options))
        return name_columns(call)  # lowers it too: a wrong argument is reported on the user's line

    def __repr__(self) -> str:
        return f"{self._on!r}.{self._path}"


def _freeze_options(options: dict[str, Any]) -> tuple:
    return tuple((name, freeze(value)) for name, value in options.items())


def freeze(value: Any) -> Any:
    """An argument as a node holds it: lists become tuples, dicts `Pairs`, foreign expressions robodf's."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, pl.Expr):
        from robodf.plan.importing import import_polars

        return import_polars(value)
    if isinstance(value, dict):
        return Pairs((freeze(k), freeze(v)) for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return tuple(map(freeze, value))
    if isinstance(getattr(value, "expr", None), Expr):  # a Column of a frame
        return value.expr
    return value


def thaw(value: Any) -> Any:
    """The argument as Polars takes it: the inverse of `freeze`."""
    if isinstance(value, Expr):
        return value.polars
    if isinstance(value, Pairs):
        return {thaw(k): thaw(v) for k, v in value}
    if isinstance(value, tuple):
        return [thaw(v) for v in value]
    return value


def lit_or_expr(value: Any) -> Expr:
    """The operand of an operator: an expression, or the value as a literal."""
    frozen = freeze(value)
    return frozen if isinstance(frozen, Expr) else Lit(frozen)


def as_expr(value: Any) -> Expr:
    """What `select` and its like take: a name is a column, any other value that is no expression a literal."""
    if isinstance(value, str):
        return Col(value)
    frozen = freeze(value)
    return frozen if isinstance(frozen, Expr) else Lit(frozen)


def function(name: str, *args: Any, **options: Any) -> Expr:
    """A call of Polars' function `name`, as in `function("concat_str", "a", "b")`."""
    return name_columns(Call(f"pl.{name}", tuple(map(freeze, args)), _freeze_options(options)))


def _operator(fn: str, reflected: bool = False):
    def method(self: Expr, *others: Any) -> Expr:
        operands = (self, *map(lit_or_expr, others))
        call = Call(fn, operands[::-1] if reflected else operands)
        if call.depth <= _LOW:
            return call
        if fn in ("__and__", "__or__"):
            return balanced(fn, _chain(call, fn))
        if call.depth > _DEEPEST:
            raise OptionError(
                f"an expression of more than {_DEEPEST} nested operators: compute a part of it in with_columns first, "
                "or use rd.sum_horizontal(...) and the like"
            )
        return call

    return method


_LOW, _DEEPEST = 64, 150  # a chain of conditions is balanced beyond the first; planners recurse, and so does Polars


def _chain(e: Expr, fn: str) -> list[Expr]:
    """The parts of `a <fn> b <fn> c`, in order, without recursion."""
    parts: list[Expr] = []
    stack: list[Any] = [e]
    while stack:
        top = stack.pop()
        if isinstance(top, Call) and top.fn == fn:
            stack.extend(reversed(top.args))
        else:
            parts.append(top)
    return parts


def balanced(fn: str, parts: list[Expr]) -> Expr:
    """The parts in order, joined by an associative operator in a tree of least depth."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return Call(fn, (balanced(fn, parts[:middle]), balanced(fn, parts[middle:])))


for _name in _BINARY:
    setattr(Expr, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Expr, f"__r{_name}__", _operator(f"__{_name}__", reflected=True))
for _name in _COMPARE + _UNARY:
    setattr(Expr, f"__{_name}__", _operator(f"__{_name}__"))


def name_columns(call: Call) -> Call:
    """The call with the strings that Polars reads as column names, as in `over("episode")`, made columns."""
    polars = call.polars
    strings = any(isinstance(v, str) for v in _plain_values((call.args, tuple(v for _, v in call.options))))
    if not strings or len(polars.meta.root_names()) == _leaves(call, {}):
        return call

    def named(value: Any) -> Any:
        if isinstance(value, str):
            return Col(value)
        if type(value) is tuple:
            return tuple(map(named, value))
        return value

    # Which of the strings are columns shows in what Polars makes of them: one argument after the other.
    for i, value in enumerate(call.args):
        candidate = Call(call.fn, (*call.args[:i], named(value), *call.args[i + 1 :]), call.options)
        call = candidate if candidate is not call and _equal(candidate, polars) else call
    for i, (name, value) in enumerate(call.options):
        options = (*call.options[:i], (name, named(value)), *call.options[i + 1 :])
        candidate = Call(call.fn, call.args, options)
        call = candidate if candidate is not call and _equal(candidate, polars) else call
    return call


def _equal(call: Call, polars: pl.Expr) -> bool:
    try:
        return call.polars.meta.eq(polars)
    except (TypeError, ValueError, AttributeError, pl.exceptions.PolarsError):
        return False  # an argument that must be a text


def _plain_values(value: Any) -> Iterable[Any]:
    if isinstance(value, tuple):
        for v in value:
            yield from _plain_values(v)
    elif not isinstance(value, Expr):
        yield value


def _leaves(value: Any, done: dict[int, int]) -> int:
    """How many columns the tree names, a shared part counted at each place, as Polars counts them; -1 for Native."""
    if isinstance(value, Col):
        return 1
    if isinstance(value, Native):
        return -(1 << 40)
    if id(value) not in done:
        done[id(value)] = sum(_leaves(child, done) for child in value.children())
    return done[id(value)]


# -- questions about expressions ----------------------------------------------------------------------------


def _may_raise(call: Call) -> bool:
    if call.fn.startswith(KERNEL):
        from robodf.plan.kernels import kernel

        return not kernel(call.fn).total
    return may_raise(call.fn, call.args, dict(call.options))


def _is_rowwise(n: Node) -> bool:
    if isinstance(n, Call):
        return n.fn.startswith(KERNEL) or reads_one_row(n.fn, n.args, dict(n.options))
    if isinstance(n, Lit):
        return not isinstance(n.value, (pl.Series, tuple))  # a literal of several rows is matched by position
    return not isinstance(n, Native)


def conjuncts(e: Expr) -> list[Expr]:
    """The parts of `a & b & c`, in order."""
    return _chain(e, "__and__")


def conjunction(parts: Iterable[Expr]) -> Expr:
    """`a & b & c` of its parts; TypeError where there is none."""
    parts = list(parts)
    if not parts:
        raise OptionError("a conjunction needs at least one part")
    if len(parts) > _LOW:
        return balanced("__and__", parts)
    whole = parts[0]
    for part in parts[1:]:
        whole = Call("__and__", (whole, part))
    return whole


def substitute(e: Expr, by: dict[str, Expr]) -> Expr:
    """`e` with each column named in `by` replaced. Only for resolved row-wise expressions (names are `Col`s)."""
    done: dict[int, Expr] = {}

    def go(x: Any) -> Any:
        if isinstance(x, Col):
            return by.get(x.ref, x)
        if id(x) not in done:
            done[id(x)] = Node.map(x, go)  # type: ignore[assignment] - of the same class
        return done[id(x)]

    return go(e)


_SYMBOL = dict(
    zip(
        [f"__{n}__" for n in [*_BINARY, *_COMPARE]],
        ["+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "==", "!=", "<", "<=", ">", ">="],
    )
)
_PREFIX = {"__neg__": "-", "__pos__": "+", "__invert__": "~"}


def render(e: Any) -> str:
    """The expression as a user would type it."""
    if isinstance(e, Col):
        return f'col("{e.ref}")'
    if isinstance(e, Lit):
        return repr(thaw(e.value)) if e.dtype is None else f"lit({thaw(e.value)!r}, {e.dtype})"
    if isinstance(e, Native):
        return f"polars[{e.expr}]"
    if isinstance(e, Call):
        if e.fn in _SYMBOL:
            return f" {_SYMBOL[e.fn]} ".join(_operand(a) for a in e.args)
        if e.fn in _PREFIX:
            return _PREFIX[e.fn] + _operand(e.args[0])
        if e.fn == "pl.when":
            *pairs, default = e.args
            text = "".join(f".when({render(p)}).then({render(v)})" for p, v in zip(pairs[::2], pairs[1::2]))
            return f"{text[1:]}.otherwise({render(default)})"
        options = [f"{k}={render(v)}" for k, v in e.options]
        if e.fn.startswith(("pl.", KERNEL)):
            return f"{e.fn.split('.', 1)[1]}({', '.join([render(a) for a in e.args] + options)})"
        return f"{_operand(e.args[0])}.{e.fn}({', '.join([render(a) for a in e.args[1:]] + options)})"
    if isinstance(e, Pairs):
        return "{" + ", ".join(f"{render(k)}: {render(v)}" for k, v in e) + "}"
    if isinstance(e, tuple):
        return "[" + ", ".join(map(render, e)) + "]"
    return repr(e)


def _operand(e: Any) -> str:
    text = render(e)
    return f"({text})" if isinstance(e, Call) and e.fn in _SYMBOL else text


# -- paths into structs ---------------------------------------------------------------------------------------

SEPARATOR = "\x00"
"""Between the parts of a path in a set of needed columns: `orientation\\0x` is the field x alone."""


def paths_of(e: Expr) -> frozenset[str]:
    """The columns that `e` reads, as paths where it reads some fields of a struct only."""
    if not e.transparent:
        return e.columns
    found: set[str] = set()

    def go(x: Any) -> None:
        path = _field_path(x)
        if path is not None:
            found.add(path)
        else:
            for child in x.children():
                go(child)

    go(e)
    return frozenset(found)


def _field_path(e: Any) -> str | None:
    if isinstance(e, Col):
        return e.ref
    if isinstance(e, Call) and e.fn == "struct.field" and len(e.args) == 2 and isinstance(e.args[1], str):
        below = _field_path(e.args[0])
        return None if below is None or e.args[1] == "*" else f"{below}{SEPARATOR}{e.args[1]}"
    return None


def base_names(paths: Iterable[str]) -> frozenset[str]:
    """The columns of a set of paths."""
    return frozenset(p.split(SEPARATOR, 1)[0] for p in paths)
