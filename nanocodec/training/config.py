"""Training configurations: YAML to `TrainConfig`, with errors that name the file and the key."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from nanocodec.config import CodecConfig, UnknownVariantError, get_config
from nanocodec.training.loop import Phase, TrainConfig


class ConfigError(Exception):
    """A training configuration or a --data argument that cannot be used."""


def load_config(path: Path) -> TrainConfig:
    """Read a YAML file whose keys are `TrainConfig`'s fields; `model` is a variant's name or a configuration.

    Raises:
        ConfigError: missing file, bad YAML, or an unknown, missing or ill-typed key; the message names it.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; configs/training/ holds examples") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping with the keys model and phases")
    known = [item.name for item in fields(TrainConfig)]
    if unknown := sorted(set(data) - set(known)):
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    for key in ("model", "phases"):
        if not data.get(key):
            raise ConfigError(f"{path}: {key!r} is missing")
    try:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        model = data["model"]
        values["model"] = CodecConfig.from_dict(model) if isinstance(model, dict) else get_config(str(model))
        values["phases"] = tuple(Phase(**phase) for phase in data["phases"])
        config = TrainConfig(**values)
        config.validate()
    except (TypeError, ValueError, UnknownVariantError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def parse_source(text: str) -> tuple[Path, float]:
    """`DIR` or `DIR:SHARE` to a folder and its share of the excerpts.

    Raises:
        ConfigError: a share that is not a positive number.
    """
    folder, colon, share = text.rpartition(":")
    if not colon or Path(text).is_dir():
        return Path(text), 1.0
    try:
        value = float(share)
    except ValueError:
        return Path(text), 1.0
    if not value > 0:
        raise ConfigError(f"--data {text}: the share must be positive")
    return Path(folder), value
