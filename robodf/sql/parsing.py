"""From the text of a query to sqlglot's tree."""

from __future__ import annotations

import re

from sqlglot import TokenType, exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, SqlglotError

from robodf.errors import SQLError, close_matches
from robodf.sql.errors import underlined

_STARTS = ("select", "with", "from", "values", "explain")
_EXPLAIN = re.compile(r"\s*explain\b", re.IGNORECASE)
_WORD = re.compile(r"\s*([A-Za-z_]+)")


class _Parser(DuckDB.Parser):  # type: ignore[name-defined,misc]
    """DuckDB's grammar, with every function kept under the name that the user wrote.

    One table of functions by name is then enough: sqlglot's classes name the arguments of each function differently.
    """

    FUNCTIONS = {}
    FUNCTION_PARSERS = {
        name: parser
        for name, parser in DuckDB.Parser.FUNCTION_PARSERS.items()
        if name in ("CAST", "TRY_CAST", "EXTRACT")
    }
    NO_PAREN_FUNCTIONS = {}

    def _parse_lambda(self, alias: bool = False) -> exp.Expr | None:
        """An argument of a function; also `TABLE t`, `name => TABLE t`, and `x DESC`, as in `best(x DESC)`."""
        table = self._table_argument()
        if table is not None:
            return table
        index = self._index
        name = self._parse_id_var(any_token=False)
        if name is not None and self._match_set((TokenType.FARROW, TokenType.COLON_EQ)):
            table = self._table_argument()
            if table is not None:
                return self.expression(exp.Kwarg(this=exp.var(name.name), expression=table))
        self._retreat(index)
        made = super()._parse_lambda(alias)
        if made is not None and self._match_set((TokenType.ASC, TokenType.DESC)):
            down = self._prev.token_type == TokenType.DESC
            return self.expression(exp.Ordered(this=made, desc=down, nulls_first=False))
        return made

    def _table_argument(self) -> exp.Expr | None:
        # DuckDB's `TABLE t` is a query; sqlglot then reads the arguments after it as tables, joined by commas.
        index = self._index
        names = {*self.ID_VAR_TOKENS, TokenType.IDENTIFIER, TokenType.STRING}
        if self._match(TokenType.TABLE) and self._match_set(names, advance=False):
            return self._parse_table()
        self._retreat(index)
        return None

    def _warn_unsupported(self) -> None:
        self.raise_error("this statement is not supported")


class RobodfDialect(DuckDB):
    """DuckDB's, with list positions as they are written."""

    INDEX_OFFSET = 0
    Parser = _Parser


def parse(text: str) -> tuple[exp.Expr, bool]:
    """The one query in `text`, and whether EXPLAIN stands before it. Places in the tree are places in `text`."""
    if not isinstance(text, str):
        raise SQLError(f"rd.sql takes the text of a query, not {type(text).__name__}")
    explain = _EXPLAIN.match(text)
    body = " " * explain.end() + text[explain.end() :] if explain else text
    first = _WORD.match(body)
    if first and first.group(1).lower() not in _STARTS:
        raise underlined(text, first.span(1), _not_a_query(first.group(1)))
    try:
        statements = [s for s in RobodfDialect().parse(body) if s is not None]
    except ParseError as error:
        raise _parse_error(text, error) from None
    except RecursionError:
        raise SQLError("the query is nested too deeply: name parts of it WITH ... AS (...)") from None
    except SqlglotError:
        raise underlined(text, _unclosed(text), "the query cannot be read: a quote is not closed") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # sqlglot's, on broken text
        raise SQLError(f"the query cannot be read: {text.strip()[:200]}") from None
    if not statements:
        raise SQLError("rd.sql got an empty query")
    if len(statements) > 1:
        end = len(text.rstrip().rstrip(";"))
        raise underlined(text, (text.find(";"), end), "rd.sql takes one query, not several")
    return statements[0], explain is not None


def _not_a_query(word: str) -> str:
    close = close_matches(word, _STARTS)
    guess = f"; did you mean {close[0].upper()}?" if close else "."
    return f"rd.sql runs queries (SELECT, FROM, WITH, VALUES, EXPLAIN), not {word!r}{guess}"


def _parse_error(text: str, error: ParseError) -> SQLError:
    found = error.errors[0] if error.errors else {}
    line, column, shown = found.get("line") or 1, found.get("col") or 1, found.get("highlight") or " "
    start = sum(len(part) + 1 for part in text.split("\n")[: line - 1]) + column - len(shown)
    said = str(found.get("description") or error).split(" for <class")[0]
    if said.startswith("Invalid expression"):
        said = f"{shown!r} cannot stand here"
    elif said.startswith("Required keyword"):
        said = "something is missing here"
    return underlined(text, (start, start + len(shown)), f"the query cannot be read: {said}")


def _unclosed(text: str) -> tuple[int, int]:
    """Where a text that the tokenizer gave up on probably goes wrong: the last quote."""
    at = max(text.rfind("'"), text.rfind('"'), 0)
    return at, len(text)
