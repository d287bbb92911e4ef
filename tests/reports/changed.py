"""Runs that say something else of their codecs and metrics."""

from dataclasses import replace
from typing import Any

from evalkit.results.provenance import CodecInfo
from evalkit.results.run import Run


def changed(run: Run, codecs: dict[str, dict[str, Any]] | None = None, **metrics: dict[str, Any]) -> Run:
    """`run` with `codecs` in its provenance, and with fields of its metrics replaced, whose names have `_` for `-`."""
    about = run.provenance
    described = dict(about.metrics)
    for name, fields in metrics.items():
        described[name.replace("_", "-")] = replace(described[name.replace("_", "-")], **fields)
    infos = about.codecs if codecs is None else {name: CodecInfo.from_json(one) for name, one in codecs.items()}
    return replace(run, provenance=replace(about, metrics=described, codecs=infos))
