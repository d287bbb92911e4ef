"""Bringing weights to this machine ahead of time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit import datasets, plugins
from evalkit.codecs import Weighted
from evalkit.environment.downloads import Advance, File, sha256
from evalkit.errors import MissingError, UsageError, choose_from
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.choice import CodecChoice


def fetch_codecs(choices: Sequence[CodecChoice]) -> Iterator[tuple[CodecChoice, Path | None]]:
    """Each codec and where its weights are now; None for codecs without weights.

    Downloads what is not here, with a progress bar of the hub's own, and verifies what has a recorded sha256. Raises
    MissingError at the first codec whose weights cannot be had, with file, revision, license and remedy.
    """
    for choice in choices:
        yield choice, choice.family.fetch(choice.rate) if isinstance(choice.family, Weighted) else None


def files_of(name: str, languages: Sequence[str]) -> tuple[File, ...] | None:
    """The files behind a metric or a dataset.

    Args:
        name: Of the metric or dataset.
        languages: Of the speech, ISO 639-1, for metrics that have files for each.

    Returns:
        The files; None for a codec.

    Raises:
        UsageError: There is no such name, or no file to download.
    """
    if name in plugins.names("metric"):
        metric = load_metric(name)
        return metric.files_for(languages) if isinstance(metric, ModelMetric) else ()
    if name in plugins.names("dataset"):
        loader = datasets.loader(name)
        if not loader.files and loader.usage not in ("", name):  # what needs no place, as the built-in data, is here
            raise UsageError(f"{name} cannot be fetched: `evalkit list datasets` says where to get it")
        return loader.files
    if not plugins.split_file(name)[0]:
        codecs = plugins.names("codec")
        if name.rpartition("=")[2].partition("@")[0] not in codecs:
            raise choose_from(
                "codec, metric or dataset", name, [*codecs, *plugins.names("metric"), *plugins.names("dataset")]
            )
    return None


def fetch_files(files: Sequence[File], advance: Advance) -> Iterator[tuple[File, Path]]:
    """Each file and where it is now, downloaded where it was not here, and verified where its sha256 is known.

    Args:
        files: What to bring.
        advance: Is told a file's name and how many more of its bytes have come.

    Raises:
        MissingError: At the first one that cannot be had or is not what was pinned; what came before it stays. Code
            without a pin is downloaded, and then refused with its sha256, for a person to compare and to pin.
    """
    for file in files:
        try:
            yield file, file.fetch(advance)
        except MissingError as error:
            path = file.find()
            found = f" The download has the sha256 {sha256(path)}." if path and file.pin is None else ""
            raise MissingError(f"{error}.{found}" if found else str(error)) from error
