"""Text files as rows: one row a line, or a paragraph."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import polars as pl

from robodf.errors import FileFormatError, OptionError
from robodf.io.files import open_file
from robodf.io.source import Request, ScanReport, Source, Split, file_names
from robodf.io.stream import from_batches

_BLOCK = 4 << 20
_LONGEST = 256 << 20  # a line of more bytes than this is no line of text


@dataclass(frozen=True)
class TextLines(Source):
    """Lines of text files, without their line ends, in order; or `paragraphs`: what lies between blank lines."""

    paths: tuple[str, ...]
    encoding: str = "utf-8"
    storage: tuple[tuple[str, object], ...] = ()
    state: tuple = ()
    paragraphs: bool = False

    __hash__ = Source.hash_once

    @property
    def name(self) -> str:
        return "text"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        number = {"paragraph": pl.UInt32()} if self.paragraphs else {}
        return {"path": pl.String(), **number, "line": pl.UInt32(), "text": pl.String()}

    def scan(self, request: Request) -> pl.LazyFrame:
        query = from_batches(self._batches, self.schema, self.describe())
        query = query.head(request.limit) if request.limit is not None else query
        return query.select(request.columns)

    @property
    def partition_column(self) -> str:
        return "path"

    def splits(self, request: Request) -> Iterator[Split]:
        for k, (path, (size, _)) in enumerate(zip(self.paths, self.state)):
            yield Split(path, k, bytes=size, key=path)

    def part(self, splits: tuple[Split, ...]) -> TextLines:
        paths, state = tuple(self.paths[s.part] for s in splits), tuple(self.state[s.part] for s in splits)
        return TextLines(paths, self.encoding, self.storage, state, self.paragraphs)

    def report(self, request: Request) -> ScanReport:
        total = sum(size for size, _ in self.state)
        return ScanReport(total if request.limit is None else None, total, files=len(self.paths))

    def describe(self) -> str:
        return f"text {file_names(self.paths)}"

    def _batches(self) -> Iterator[pl.DataFrame]:
        for path in self.paths:
            yield from self._paragraphs(path) if self.paragraphs else self._numbered(path)

    def _numbered(self, path: str) -> Iterator[pl.DataFrame]:
        first = 1
        for lines in self._lines(path):
            yield pl.DataFrame(
                {"path": [path] * len(lines), "line": range(first, first + len(lines)), "text": lines},
                schema=self.schema,
            )
            first += len(lines)

    def _paragraphs(self, path: str) -> Iterator[pl.DataFrame]:
        """Lines up to a blank one are held together; each block of the file gives those that end in it."""
        held: list[str] = []
        size = line = number = 0
        blocks = chain(self._lines(path), ([""],))  # the end of the file ends a paragraph
        for lines in blocks:
            rows: list[tuple[str, int, int, str]] = []
            for text in lines:
                line += 1
                if text.strip():
                    held.append(text)
                    size += len(text)
                    if size > _LONGEST:
                        raise FileFormatError(
                            f"{path}: a paragraph of more than {_LONGEST} bytes ends after line {line}"
                        )
                elif held:
                    number += 1
                    rows.append((path, number, line - len(held), "\n".join(held)))
                    held, size = [], 0
            if rows:
                yield pl.DataFrame(rows, schema=self.schema, orient="row")

    def _lines(self, path: str) -> Iterator[list[str]]:
        """Blocks of lines; only \\n, \\r\\n and \\r end a line, as text editors count."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        rest, offset, done = "", 0, 0
        with open_file(path, dict(self.storage)) as file:
            while offset < file.size:
                block = file.read_at(offset, min(_BLOCK, file.size - offset))
                offset += len(block)
                try:
                    text = rest + decoder.decode(block, final=offset == file.size)
                except UnicodeDecodeError as error:
                    raise FileFormatError(
                        f"{path}: not {self.encoding} text near byte {offset - len(block) + error.start}, "
                        f"after line {done}: pass encoding= (for example 'latin-1')"
                    ) from error
                held = "\r" if text.endswith("\r") and offset < file.size else ""
                lines = text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n").split("\n")
                rest = lines.pop() + held
                if len(rest) > _LONGEST:
                    raise FileFormatError(f"{path}: line {done + 1} is longer than {_LONGEST} bytes: not a text file")
                done += len(lines)
                if lines:
                    yield lines
        if rest:
            yield [rest]


def text_lines(paths: list[str], encoding: str, storage: dict | None, paragraphs: bool = False) -> TextLines:
    """A source over files that exist."""
    from robodf.io.files import fingerprint

    check_encoding(encoding)
    state = tuple(fingerprint(p, storage) for p in paths)
    return TextLines(tuple(paths), encoding, tuple(sorted((storage or {}).items())), state, paragraphs)


def check_encoding(encoding: str) -> None:
    """OptionError for an encoding that Python does not have."""
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise OptionError(f"read_text: no encoding {encoding!r}") from error
