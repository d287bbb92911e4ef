"""YAML that people write, read against a JSON schema: what is wrong is said with its line.

Of JSON Schema this reads what configs/*.schema.json use: `type` (object, array, string, number), `properties`,
`required`, `additionalProperties` (false, or a schema for every further key), `items`, `minItems`, `maxItems`, `enum`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import yaml

from evalkit.errors import UsageError, describe, did_you_mean

_NODES = {
    "object": yaml.MappingNode, "array": yaml.SequenceNode, "string": yaml.ScalarNode, "number": yaml.ScalarNode,
}  # fmt: skip
_KINDS = {"object": "keys with values", "array": "a list", "string": "a string", "number": "a number"}
_TAGS = {
    "string": ("tag:yaml.org,2002:str",), "number": ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"),
}  # fmt: skip


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice: the second would silently take the first one's place."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} occurs twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(text: str | bytes) -> Any:
    """The content of a YAML document; raises yaml.YAMLError for what is none, and for a key that stands twice."""
    try:
        return yaml.load(text, _Strict)
    except (ValueError, RecursionError) as error:  # a date that no calendar has, too many brackets
        raise yaml.YAMLError(describe(error)) from error


@dataclass(frozen=True)
class Document:
    """What a file holds, and where."""

    source: str
    """The file, for messages."""
    content: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)
    """The line on which each text stands first, counted from 1."""

    def where(self, text: str) -> str:
        """The place of `text`, for a message; "" where it is not in the file."""
        return f"{self.source}, line {self.lines[text]}" if text in self.lines else ""


def read_document(text: str, source: str, schema: Mapping[str, Any]) -> Document:
    """Read `text` as YAML that follows `schema`.

    Args:
        text: The whole file.
        source: Its name, for messages.
        schema: A JSON schema whose `type` is object.

    Returns:
        The content, with the line of each text.

    Raises:
        UsageError: It is no YAML, or does not follow the schema; the message names the line.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UsageError(
            f"{source}{place}: this is not valid YAML: {getattr(error, 'problem', None) or error}"
        ) from error
    if root is None:
        raise UsageError(f"{source}: the file is empty. It needs {', '.join(schema['required'])}")
    lines: dict[str, int] = {}
    content = _read(root, schema, source, "the file", lines)
    return Document(source, content, lines)


def _read(node: yaml.Node, schema: Mapping[str, Any], source: str, what: str, lines: dict[str, int]) -> Any:
    kind = schema["type"]
    line = node.start_mark.line + 1
    if not isinstance(node, _NODES[kind]) or (kind in _TAGS and node.tag not in _TAGS[kind]):
        hint = ". Put quotation marks around it" if kind == "string" and isinstance(node, yaml.ScalarNode) else ""
        raise UsageError(f"{source}, line {line}: {what} must be {_KINDS[kind]}{hint}")
    if kind == "number":
        if not isfinite(value := yaml.safe_load(node.value)):
            raise UsageError(f"{source}, line {line}: {what} must be a finite number")
        return value
    if isinstance(node, yaml.ScalarNode):
        if node.value not in schema.get("enum", [node.value]):
            raise UsageError(f"{source}, line {line}: {what} must be one of {', '.join(schema['enum'])}")
        lines.setdefault(node.value, line)
        return node.value
    if isinstance(node, yaml.SequenceNode):
        if len(node.value) < schema.get("minItems", 0):
            raise UsageError(f"{source}, line {line}: {what} must have at least {schema['minItems']} entries")
        if len(node.value) > schema.get("maxItems", len(node.value)):
            raise UsageError(f"{source}, line {line}: {what} must have at most {schema['maxItems']} entries")
        return [_read(item, schema["items"], source, f"each of {what}", lines) for item in node.value]
    known, further, found = schema.get("properties", {}), schema.get("additionalProperties", False), {}
    for key, value in node.value:
        name, place = str(key.value), f"{source}, line {key.start_mark.line + 1}"
        if name in found:
            raise UsageError(f"{place}: {name} occurs twice")
        if name not in known and further is False:
            raise UsageError(f"{place}: unknown key {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}")
        lines.setdefault(name, key.start_mark.line + 1)
        found[name] = _read(value, known.get(name, further), source, name, lines)
    if missing := [name for name in schema.get("required", ()) if name not in found]:
        raise UsageError(
            f"{source}, line {line}: {', '.join(missing)} missing. It needs {', '.join(schema['required'])}"
        )
    return found
