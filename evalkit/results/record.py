"""Dataclasses that are written as JSON, and read like it."""

import builtins
import types
from collections import abc
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from math import inf
from typing import Any, Self, get_args, get_origin, get_type_hints

from evalkit.files import shown


class Record:
    """Base of dataclasses in run.json. Fields without a value are left out, keys that nobody knows are passed over, so
    that older files and newer ones can be read; `record["field"]` and `record.get("field")` read like the JSON."""

    def to_json(self) -> dict[str, Any]:
        """JSON values by field."""
        known = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return {name: _plain(value) for name, value in known.items() if not _empty(value)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` wrote; raises ValueError where a value is of another type than its field."""
        if not isinstance(values, Mapping):
            raise ValueError(f"{cls.__name__} is {str(values)[:100]!r}, not a JSON object")
        hints = _hints(cls)  # type: ignore[arg-type]
        known = {name: _frozen(value) for name, value in values.items() if name in hints and value is not None}
        for name, value in known.items():
            if not _fits(value, hints[name]):
                raise ValueError(f"{name} is {str(value)[:100]!r}, which is not a JSON value of its type")
        return cls(**known)

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        """The field `name`; `default` where there is none, or it has no value."""
        value = getattr(self, name, None)
        return default if value is None else value


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, tuple | list | Mapping) and not value)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {shown(str(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, str):  # a path on the command line may be no UTF-8
        return shown(value)
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


@cache
def _hints(record: type) -> dict[str, Any]:
    hints = get_type_hints(record)
    return {item.name: hints[item.name] for item in fields(record)}


def _fits(value: Any, hint: Any) -> bool:
    """Whether `value` is of the type that the annotation `hint` names."""
    parts = get_args(hint)
    match get_origin(hint) or hint:
        case types.UnionType:
            return any(_fits(value, one) for one in parts)
        case abc.Mapping:
            return isinstance(value, Mapping) and all(_fits(one, parts[1]) for one in value.values())
        case builtins.tuple:
            return isinstance(value, tuple) and all(_fits(one, parts[0]) for one in value)
        case builtins.float | builtins.int as number:
            return isinstance(value, int | number) and not isinstance(value, bool) and abs(value) < inf
        case kind:
            return kind is Any or isinstance(value, kind)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
