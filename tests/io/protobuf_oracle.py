"""What the `protobuf` package makes of a message, as plain values that compare with robodf's columns."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2

KINDS = {v: n.removeprefix("TYPE_").lower() for n, v in descriptor_pb2.FieldDescriptorProto.Type.items()}


def values(message: Any, above: tuple[str, ...] = ()) -> dict[str, Any]:
    return {one.name: _field(message, one, above) for one in message.DESCRIPTOR.fields}


def _field(message: Any, one: Any, above: tuple[str, ...]) -> Any:
    above = (*above, message.DESCRIPTOR.full_name)
    if one.message_type is not None and one.message_type.GetOptions().map_entry:
        key, value = (one.message_type.fields_by_name[name] for name in ("key", "value"))
        entries = getattr(message, one.name)
        keys = {_single(entry, key, above): entry for entry in entries}
        return [{"key": name, "value": _single(entries[keys[name]], value, above)} for name in sorted(keys)]
    if one.is_repeated:
        return [_single(item, one, above) for item in getattr(message, one.name)]
    if one.has_presence and not message.HasField(one.name):
        return None
    return _single(getattr(message, one.name), one, above)


def _single(value: Any, one: Any, above: tuple[str, ...]) -> Any:
    if one.enum_type is not None:
        names = [v.name for v in one.enum_type.values if v.number == value]
        return names[0] if names else str(value)
    if one.message_type is None:
        if KINDS[one.type] == "string":
            value.encode()  # what is not UTF-8 comes with lone surrogates, or as bytes: AttributeError
        return value
    name = one.message_type.full_name
    if name in above:
        return value.SerializePartialToString(deterministic=True)
    if name == "google.protobuf.Timestamp":
        return _ns(value) if 0 <= value.nanos < 10**9 else None
    if name == "google.protobuf.Duration":
        ok = abs(value.nanos) < 10**9 and not (value.seconds < 0 < value.nanos or value.nanos < 0 < value.seconds)
        return _ns(value) if ok else None
    if name in ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"):
        return _plain(value)
    if name.startswith("google.protobuf.") and name.endswith("Value"):
        return value.value
    return values(value, above) or True


def _plain(value: Any) -> Any:
    """`json_format.MessageToDict`, which refuses NaN and Infinity."""
    match value.DESCRIPTOR.name, value.ListFields():
        case "Struct", _:
            return {key: _plain(item) for key, item in value.fields.items()}
        case "ListValue", _:
            return [_plain(item) for item in value.values]
        case _, [(one, found)]:
            return None if one.name == "null_value" else _plain(found) if one.message_type else found
    return None


def _ns(value: Any) -> int | None:
    return value.seconds * 10**9 + value.nanos if abs(value.seconds) < 9_223_372_035 else None


def sorted_maps(value: Any) -> Any:
    """Map entries by key: the package gives them in no order, robodf in that of the message."""
    if isinstance(value, list):
        items = [sorted_maps(item) for item in value]
        is_map = bool(items) and all(isinstance(item, dict) and list(item) == ["key", "value"] for item in items)
        return sorted(items, key=lambda item: item["key"]) if is_map else items
    if isinstance(value, dict):
        return {name: sorted_maps(item) for name, item in value.items()}
    return value
