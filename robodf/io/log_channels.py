"""The channels of the logs that a plan reads: what the rows of raw messages do not carry along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from robodf.errors import OptionError, QueryError, SchemaError, hint, listing
from robodf.io.logs.model import Summary
from robodf.io.logs.source import LogSource
from robodf.io.logs.topic import channels_of, kind_of
from robodf.plan.base import Plan, plans
from robodf.plan.nodes.scan import Scan


class Definition(NamedTuple):
    """How the messages of a channel are to be read."""

    type: str
    schema_encoding: str
    schema: bytes
    message_encoding: str


class Key(NamedTuple):
    """What a row says of its channel; None where the frame has no such column."""

    recording: str | None
    topic: str | None
    type: str | None


@dataclass(frozen=True)
class SourceChannel:
    """A channel of one file."""

    recording: str
    topic: str
    definition: Definition
    metadata: Mapping[str, str]
    empty: bool  # it has no messages, as the summary tells

    def agrees(self, key: Key, *fields: str) -> bool:
        """Whether the fields that `key` has are those of this channel."""
        own = {"recording": self.recording, "topic": self.topic, "type": self.definition.type}
        return all(getattr(key, f) in (None, own[f]) for f in fields)


def log_sources(plan: Plan) -> list[LogSource]:
    """The logs that a plan reads."""
    found = (n.source for n in plans(plan) if isinstance(n, Scan))
    return [source for source in found if isinstance(source, LogSource)]


def source_channels(sources: Iterable[LogSource]) -> Iterator[SourceChannel]:
    """The channels of their topics, in all files."""
    for source in sources:
        topics = None if source.topic is None else [source.topic]
        for recording, summary in zip(source.recordings, source.summaries):
            for channel_id in sorted(channels_of(summary, topics)):
                yield _source_channel(recording, summary, channel_id)


def _source_channel(recording: str, summary: Summary, channel_id: int) -> SourceChannel:
    channel, kind = summary.channels[channel_id], kind_of(summary, channel_id)
    definition = Definition(kind.schema_name, kind.schema_encoding, kind.schema_data, kind.message_encoding)
    empty = summary.channel_counts is not None and not summary.channel_counts.get(channel_id)
    return SourceChannel(recording, channel.topic, definition, channel.metadata, empty)


Given = Mapping[str, tuple[str, str | bytes, str]]


class Channels:
    """Finds the definition and the metadata of a row's channel.

    `given` are definitions by topic or type: (schema encoding, text, message encoding). They come before those of
    the `sources`.
    """

    def __init__(self, sources: Iterable[LogSource], given: Given | None = None):
        self._channels = list(source_channels(sources))
        self._given = dict(given or {})
        for name, value in self._given.items():
            if not (isinstance(value, tuple | list) and len(value) == 3 and isinstance(value[1], str | bytes)
                    and isinstance(value[0], str) and isinstance(value[2], str)):  # fmt: skip
                raise OptionError(
                    f"schemas[{name!r}] is (schema encoding, text, message encoding), such as "
                    f"('ros2msg', 'float64 data', 'cdr'), not {value!r:.80}"
                )

    def find(self, key: Key) -> tuple[Definition, Mapping[str, str]]:
        """The definition of the messages of `key`, and what all its channels state as metadata.

        A row whose topic or recording was renamed is one of the channels of its type, as long as these do not
        contradict one another. Raises QueryError where there is none, SchemaError where they do.
        """
        given = self.given(key.topic, key.type)
        if given is not None:
            return given, {}
        found = [c for c in self._channels if c.agrees(key, "type")]
        if key.type is None:
            found = [c for c in found if c.agrees(key, "topic")]  # a name must hold, or any channel would do
        found = [c for c in found if not c.empty] or found
        exact = [c for c in found if c.agrees(key, "recording", "topic")]
        found = exact or [c for c in found if c.agrees(key, "recording") or c.agrees(key, "topic")] or found
        if not found:
            raise QueryError(self._unknown(key))
        definitions = {c.definition for c in found}
        if len(definitions) > 1:
            places = listing(sorted({f"{c.topic} in {c.recording}" for c in found}), 6)
            raise SchemaError(
                f"to_mcap: {_said(key)} is one of {len(definitions)} different definitions ({places}), and the rows do "
                "not say which; keep the columns recording, topic and type as they are, write those logs apart, or "
                "pass schemas={'the topic or type': (schema encoding, text, message encoding)}"
            )
        first = found[0].metadata
        return found[0].definition, {k: v for k, v in first.items() if all(c.metadata.get(k) == v for c in found)}

    def given(self, topic: str | None, type: str | None) -> Definition | None:
        """What the user passed for this topic, else for this type."""
        for name in (topic, type):
            if name is not None and name in self._given:
                encoding, text, message_encoding = self._given[name]
                text = text.encode() if isinstance(text, str) else bytes(text)
                return Definition(name if type is None else type, encoding, text, message_encoding)
        return None

    def _unknown(self, key: Key) -> str:
        known = sorted({c.definition.type for c in self._channels} | {c.topic for c in self._channels})
        name = key.type if key.type is not None else key.topic or ""
        why = f"no log that the frame reads has it{hint(name, known)}" if known else "the frame reads no log."
        return (
            f"to_mcap: the rows of {_said(key)} need the definition of their messages, and {why} Pass "
            f"schemas={{{name!r}: (schema encoding, text, message encoding)}}, such as ('ros2msg', text, 'cdr'), or "
            "('', '', encoding) for messages without a schema"
        )


def _said(key: Key) -> str:
    parts = [f"{name} {value!r}" for name, value in key._asdict().items() if value is not None]
    return ", ".join(reversed(parts))
