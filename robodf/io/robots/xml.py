"""XML of descriptions: no entities, no network, bounded."""

from __future__ import annotations

from typing import Any

from robodf.errors import FileFormatError

_MOST_ELEMENTS = 200_000


def parsed(text: bytes, path: str, root: str) -> Any:
    """The root element, of the name `root`. Prefixes without a namespace, as SDF has, are let pass.

    FileFormatError where it is no XML, has entities of its own, or another root.
    """
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - it has no types

    parser = etree.XMLParser(
        recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True,
        remove_pis=True,
    )  # fmt: skip
    try:
        found = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FileFormatError(f"{path}: is no XML: {error}") from None
    wrong = [e for e in parser.error_log if e.type_name != "NS_ERR_UNDEFINED_NAMESPACE"]
    if found is None or wrong:
        why = f"line {wrong[0].line}: {wrong[0].message}" if wrong else "it has no element"
        raise FileFormatError(f"{path}: is no XML: {why}")
    if found.getroottree().docinfo.internalDTD is not None:
        raise FileFormatError(f"{path}: has a document type of its own, which may define entities: it is not read")
    if any(not isinstance(e.tag, str) for e in found.iter()):  # an entity that stayed
        raise FileFormatError(f"{path}: refers to an entity, which is not read")
    if sum(1 for _ in found.iter()) > _MOST_ELEMENTS:
        raise FileFormatError(f"{path}: has more than {_MOST_ELEMENTS} elements")
    if found.tag != root:
        raise FileFormatError(f"{path}: its root is <{found.tag}>, not <{root}>")
    return found


def numbers(
    text: str | None, count: int, path: str, what: str, default: list[float] | None = None
) -> list[float] | None:
    """The numbers of an attribute or element; the default where it is not there."""
    if text is None or not text.strip():
        return default
    try:
        found = [float(part) for part in text.split()]
    except ValueError:
        raise FileFormatError(f"{path}: {what}: {text[:60]!r} are no numbers") from None
    if len(found) != count:
        raise FileFormatError(f"{path}: {what}: {len(found)} numbers, not {count}")
    return found


def number(text: str | None, path: str, what: str) -> float | None:
    """One number, None where it is not there."""
    found = numbers(text, 1, path, what)
    return None if found is None else found[0]
