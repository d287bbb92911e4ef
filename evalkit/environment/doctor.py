"""What is on this machine and what is not: metrics, codecs and data, how to get what is missing, under which license,
and the disk that it takes."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evalkit import datasets, plugins
from evalkit.codecs import UNPINNED, CodecFamily, Described
from evalkit.datasets.languages import NAMES
from evalkit.environment.downloads import File, megabytes
from evalkit.environment.extras import install
from evalkit.environment.folders import cache_folder, data_folder, hub_folder, torch_hub
from evalkit.environment.machine import extras_of_users
from evalkit.environment.needs import Need, codec_need, dataset_need, metric_need
from evalkit.errors import EvalkitError
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric

ANYWHERE = ("folder", "hub")
"""Datasets that are ready as soon as a command says where they are."""
UNPINNED_STATE = "unpinned"
BROKEN = "cannot be loaded"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: a metric, a codec at those of its rates that share a state, data, an extra, a
    folder."""

    kind: str
    name: str
    state: str
    license: str = ""
    on_disk: str = ""
    to_download: str = ""
    remedy: str = ""
    need: Need | None = None
    """What it lacks, where commands are known that bring it."""

    @property
    def health(self) -> str:
        """ready, missing or broken; "" for a folder and for a remark about pins, which are none of these."""
        if not self.kind or self.state == UNPINNED_STATE:
            return ""
        return {"ready": "ready", "give its location": "ready", BROKEN: "broken"}.get(self.state, "missing")

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        what = f"{self.kind} {self.name}".strip()
        return {
            "what": what, "state": self.state, "license": self.license, "on disk": self.on_disk,
            "to download": self.to_download, "remedy": self.remedy,
        }  # fmt: skip


def examine() -> list[Finding]:
    """All that can be looked at. Loads no model, asks no network and changes nothing."""
    return [*_metrics(), *_codecs(), *_datasets(), *_extras(), *_kernels(), *_folders()]


def _metrics() -> Iterator[Finding]:
    for name in plugins.names("metric"):
        try:
            metric = load_metric(name)
        except EvalkitError as error:
            yield Finding("metric", name, BROKEN, remedy=str(error))
            continue
        state = metric.availability(tuple(NAMES))
        need = metric_need(name, metric, tuple(NAMES))
        if not isinstance(metric, ModelMetric):
            yield Finding("metric", name, state.code, remedy=state.remedy, need=need)
            continue
        files = metric.files_for(tuple(NAMES))
        missing = metric.missing(tuple(NAMES))
        here = sum(path.stat().st_size for file in files if (path := file.find()))
        licenses = ", ".join(dict.fromkeys(file.license for file in files))
        remedy = [line for line in state.remedy.splitlines() if "install" in line or "pinned" in line]
        remedy += [metric.fetch_command(tuple(NAMES))] if missing else []
        yield Finding(
            "metric", name, state.code, licenses, megabytes(here) if here else "", _together(missing),
            "; ".join(remedy), need,
        )  # fmt: skip
        if unpinned := [str(file) for file in files if not file.pinned]:
            yield Finding(
                "metric", f"{name}: weights", UNPINNED_STATE, remedy=f"the sha256 of {', '.join(unpinned)} is not known"
            )


def _together(missing: Sequence[File]) -> str:
    size = sum(file.size for file in missing)
    return "" if not missing else f"about {megabytes(size)}" if size else "size not known"


def _codecs() -> Iterator[Finding]:
    for name in plugins.names("codec"):
        try:
            family: CodecFamily = plugins.load("codec", name)
        except EvalkitError as error:
            yield Finding("codec", name, BROKEN, remedy=str(error))
            continue
        states = {rate: family.availability(rate) for rate in family.rates}
        for code in dict.fromkeys(state.code for state in states.values()):
            rates = [rate for rate, state in states.items() if state.code == code]
            shown = ", ".join(rates) if len(rates) <= 4 else f"{len(rates)} rates"
            first = family.default_rate if family.default_rate in rates else rates[0]
            yield Finding(
                "codec", f"{name} ({shown})", code, family.license, remedy=states[rates[0]].remedy,
                need=codec_need(family, first),
            )  # fmt: skip
        if isinstance(family, Described) and any(family.info(rate).weights.endswith(UNPINNED) for rate in family.rates):
            yield Finding(
                "codec", f"{name}: weights", UNPINNED_STATE, remedy="the newest revision is used: see run.json"
            )


def _datasets() -> Iterator[Finding]:
    for name in plugins.names("dataset"):
        try:
            dataset = datasets.loader(name)()
            yield Finding("data", name, "ready", dataset.license)
        except EvalkitError as error:
            if name in ANYWHERE:
                yield Finding("data", name, "give its location", remedy=str(error))
            else:
                yield Finding("data", name, "not here", remedy=str(error), need=dataset_need(name, str(error)))


def _extras() -> Iterator[Finding]:
    for extra, packages in extras_of_users().items():
        absent = [package for package in packages if not _installed(package)]
        state = f"lacks {', '.join(absent)}" if absent else "ready"
        need = Need(f"extra {extra}", state, extra=extra) if absent else None
        yield Finding("extra", extra, state, remedy=install(extra) if absent else "", need=need)


def _kernels() -> Iterator[Finding]:
    compiled = find_spec("nanocodec._kernels") is not None
    remedy = "" if compiled else "decoding is slower without it: install a C compiler, then reinstall this package"
    need = None if compiled else Need("kernels of nanocodec", "not compiled", advice=remedy)
    yield Finding("kernels of", "nanocodec", "ready" if compiled else "not compiled", remedy=remedy, need=need)


def _folders() -> Iterator[Finding]:
    places = {"cache": cache_folder(), "data": data_folder(), "hub weights": hub_folder(), "torch weights": torch_hub()}
    for what, folder in places.items():
        free = shutil.disk_usage(_existing(folder)).free
        yield Finding("", f"{what}: {folder}", f"{megabytes(free)} free", on_disk=megabytes(_size(folder)))


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
