"""Dataclasses that are written as JSON, and read like it."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self


class Record:
    """Base of dataclasses in run.json. Fields without a value are left out, keys that nobody knows are passed over, so
    that older files and newer ones can be read; `record["field"]` and `record.get("field")` read like the JSON."""

    def to_json(self) -> dict[str, Any]:
        """JSON values by field."""
        known = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return {name: _plain(value) for name, value in known.items() if not _empty(value)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        known = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: _frozen(value) for name, value in values.items() if name in known})

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
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
