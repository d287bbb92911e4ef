"""What cannot be used on this machine yet, how large it is, and the fewest commands that would bring it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from textwrap import TextWrapper

from evalkit import datasets, plugins
from evalkit.codecs import CodecFamily, CodecInfo, Described, Weighted
from evalkit.environment.downloads import File, megabytes
from evalkit.environment.extras import install
from evalkit.metrics.base import Metric
from evalkit.metrics.model import ModelMetric


@dataclass(frozen=True)
class Need:
    """One thing that cannot be used yet. `extra` and `fetch` say what its commands name; `advice` is for a person,
    where no command helps."""

    what: str
    """As `list` and `doctor` name it: `metric sqmos`, `codec mimi@1.1k`."""
    state: str
    size: int = 0
    """Bytes to download; 0 where nobody says."""
    license: str = ""
    extra: str = ""
    """The extra of this distribution that brings its packages."""
    fetch: str = ""
    """What `evalkit fetch` takes for it."""
    advice: str = ""
    files: frozenset[str] = frozenset()
    """What is downloaded for it, which others may share."""

    @property
    def size_text(self) -> str:
        """For people: its size, as far as it is known."""
        if self.size:
            return f"about {megabytes(self.size)}"
        return "size not known" if self.fetch else ""


def metric_need(name: str, metric: Metric, languages: Sequence[str] = ()) -> Need | None:
    """What `metric` lacks to score speech in `languages`; None where it is ready."""
    state = metric.availability(languages) if isinstance(metric, ModelMetric) else metric.availability()
    if state.ready:
        return None
    if not isinstance(metric, ModelMetric):
        extra = _extra(state.remedy)
        return Need(f"metric {name}", state.code, extra=extra, advice="" if extra else state.remedy)
    missing = metric.missing(languages)
    unpinned = any(file.code and file.pin is None for file in metric.files)
    command = metric.fetch_command(languages).removeprefix("evalkit fetch ") + (" --sha256 HEX" if unpinned else "")
    return Need(
        f"metric {name}",
        state.code,
        _size(missing),
        ", ".join(dict.fromkeys(file.license for file in metric.files_for(languages))),
        _extra(state.remedy),
        command if missing or unpinned else "",
        files=frozenset(map(str, missing)),
    )


def codec_need(family: CodecFamily, rate: str) -> Need | None:
    """What a codec lacks at `rate`; None where it is ready."""
    state = family.availability(rate)
    if state.ready:
        return None
    info = family.info(rate) if isinstance(family, Described) else CodecInfo()
    spec = f"{family.name}@{rate}"
    weights = isinstance(family, Weighted) and state.code in ("needs download", "needs license")
    return Need(
        f"codec {spec}",
        state.code,
        _stated_size(state.remedy) if weights else 0,
        info.weights_license,
        _extra(state.remedy),
        spec if weights else "",
        # The first sentence of a gated one says where to accept the license.
        "" if state.code in ("needs download", "needs extra") else state.remedy.partition(". Run ")[0],
        frozenset([info.weights or spec]),
    )


def dataset_need(name: str, message: str) -> Need:
    """What the dataset `name` lacks, as its loader's error `message` says."""
    known, _, _ = name.partition(":")
    files = datasets.loader(known).files if known in plugins.names("dataset") else ()
    if files:
        licenses = ", ".join(dict.fromkeys(file.license for file in files))
        return Need(f"dataset {name}", "not here", _size(files), licenses, fetch=known)
    return Need(f"dataset {name}", "not here", advice=message)


def commands(needs: Iterable[Need]) -> list[str]:
    """The fewest commands that bring all that a command can: one for all extras, one for all files."""
    needs = list(needs)
    extras = sorted({need.extra for need in needs if need.extra})
    # In one command pip looks for versions that suit all of them.
    found = (
        ["pip install " + " ".join(install(extra).removeprefix("pip install ") for extra in extras)] if extras else []
    )
    here: set[str] = set()
    together: list[str] = []
    single: list[str] = []
    for need in needs:
        if need.fetch and not (need.files and need.files <= here):
            here |= need.files
            (single if " --" in need.fetch else together).append(need.fetch)
    found += [f"evalkit fetch {' '.join(dict.fromkeys(together))}"] if together else []
    return found + [f"evalkit fetch {one}" for one in dict.fromkeys(single)]


def total(needs: Iterable[Need]) -> str:
    """For people: how much all of it takes to download."""
    sizes: dict[frozenset[str] | str, int] = {}
    unknown = []
    for need in needs:
        if need.fetch and not need.size:
            unknown.append(need.fetch.partition(" ")[0])
        sizes[need.files or need.what] = need.size
    text = f"about {megabytes(sum(sizes.values()))}" if any(sizes.values()) else ""
    beside = f"{', '.join(dict.fromkeys(unknown))} of unknown size" if unknown else ""
    return " and ".join(filter(None, [text, beside]))


def report(needs: Sequence[Need]) -> str:
    """All that is missing as a table, the total, and the commands, in lines that no terminal needs to break."""
    columns = [[need.what, need.state, need.size_text, need.license] for need in needs]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    lines = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in columns]
    if size := total(needs):
        lines += ["", f"To download: {size}."]
    if known := commands(needs):
        lines += ["", "To get it:", *(f"  {command}" for command in known)]
    if advice := [f"  {need.what}: {need.advice}" for need in needs if need.advice]:
        whole = TextWrapper(
            get_terminal_size().columns - 1, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
        lines += ["", "By hand:", *(whole.fill(text) for text in advice)]
    return "\n".join(lines)


def _stated_size(remedy: str) -> int:
    """Bytes, as a family states them in its remedy for people (`about 384.6 MB`); 0 where it does not."""
    found = re.search(r"about ([\d.]+) ([MG])B", remedy)
    return round(float(found[1]) * {"M": 10**6, "G": 10**9}[found[2]]) if found else 0


def _size(files: Iterable[File]) -> int:
    sizes = [file.size for file in files]
    return sum(sizes) if all(sizes) else 0


def _extra(remedy: str) -> str:
    """The extra that the command of `environment.extras.install` in `remedy` names."""
    found = re.search(r"pip install '[\w-]+\[([\w,-]+)\]'", remedy)
    return found[1] if found else ""
