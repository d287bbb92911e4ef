"""What is on this machine and what is not: metrics, codecs and data, how to get what is missing, under which license,
and the disk that it takes."""

import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evalkit import plugins
from evalkit.codecs import CodecFamily
from evalkit.datasets.languages import NAMES
from evalkit.environment.downloads import File, megabytes
from evalkit.environment.extras import install
from evalkit.environment.folders import cache_folder, data_folder, hub_folder, torch_hub
from evalkit.errors import EvalkitError
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric

COLUMNS = ["what", "state", "license", "on disk", "to download", "remedy"]
OPTIONAL = {
    "classical": ("av", "pycodec2"),
    "models": ("transformers", "datasets", "jiwer"),
    "hub": ("huggingface_hub",),
    "dnsmos": ("speechmos", "onnxruntime"),
    "nisqa": ("torchmetrics", "librosa", "requests"),
}
"""Extra -> what it brings."""


def examine() -> tuple[list[str], list[list[Any]]]:
    """Columns and rows, for a table or JSON. Loads no model, asks no network and changes nothing."""
    return COLUMNS, [*_metrics(), *_codecs(), *_datasets(), *_extras(), *_kernels(), *_folders()]


def _metrics() -> Iterator[list[Any]]:
    for name in plugins.names("metric"):
        try:
            metric = load_metric(name)
        except EvalkitError as error:
            yield [f"metric {name}", "cannot be loaded", "", "", "", str(error)]
            continue
        state = metric.availability(tuple(NAMES))
        if not isinstance(metric, ModelMetric):
            yield [f"metric {name}", state.code, "", "", "", state.remedy]
            continue
        files = metric.files_for(tuple(NAMES))
        missing = metric.missing(tuple(NAMES))
        here = sum(path.stat().st_size for file in files if (path := file.find()))
        licenses = ", ".join(dict.fromkeys(file.license for file in files))
        remedy = [line for line in state.remedy.splitlines() if "install" in line or "pinned" in line]
        remedy += [metric.fetch_command(tuple(NAMES))] if missing else []
        yield [
            f"metric {name}", state.code, licenses, megabytes(here) if here else "",
            _together(missing), "; ".join(remedy),
        ]  # fmt: skip


def _together(missing: Sequence[File]) -> str:
    size = sum(file.size for file in missing)
    return "" if not missing else f"about {megabytes(size)}" if size else "size not known"


def _codecs() -> Iterator[list[Any]]:
    for name in plugins.names("codec"):
        try:
            family: CodecFamily = plugins.load("codec", name)
        except EvalkitError as error:
            yield [f"codec {name}", "cannot be loaded", "", "", "", str(error)]
            continue
        states = {rate: family.availability(rate) for rate in family.rates}
        for code in dict.fromkeys(state.code for state in states.values()):
            rates = [rate for rate, state in states.items() if state.code == code]
            shown = ", ".join(rates) if len(rates) <= 4 else f"{len(rates)} rates"
            yield [f"codec {name} ({shown})", code, family.license, "", "", states[rates[0]].remedy]


def _datasets() -> Iterator[list[Any]]:
    for name in plugins.names("dataset"):
        try:
            dataset = plugins.load("dataset", name)()
            yield [f"data {name}", "ready", dataset.license, "", "", ""]
        except EvalkitError as error:
            yield [f"data {name}", "not here", "", "", "", str(error)]


def _extras() -> Iterator[list[Any]]:
    for extra, packages in OPTIONAL.items():
        absent = [package for package in packages if not _installed(package)]
        state = "ready" if not absent else f"lacks {', '.join(absent)}"
        remedy = install(extra) if absent else ""
        yield [f"extra {extra}", state, "", "", "", remedy]


def _kernels() -> Iterator[list[Any]]:
    compiled = find_spec("nanocodec._kernels") is not None
    remedy = "" if compiled else "decoding is slower without: install a C compiler, then this package again"
    yield ["kernels of nanocodec", "ready" if compiled else "not compiled", "", "", "", remedy]


def _folders() -> Iterator[list[Any]]:
    places = {"cache": cache_folder(), "data": data_folder(), "hub weights": hub_folder(), "torch weights": torch_hub()}
    for what, folder in places.items():
        free = shutil.disk_usage(_existing(folder)).free
        yield [f"{what}: {folder}", f"{megabytes(free)} free", "", megabytes(_size(folder)), "", ""]


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _size(folder: Path) -> int:
    """Bytes of the files below `folder`; links, of which the hub's snapshots consist, count nothing."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
