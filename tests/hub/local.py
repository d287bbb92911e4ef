"""The local hub with everything that evalkit downloads, and evalkit running against it.

A codec is served by its `Release` and its module in baselines/testing, a metric by its files and models.py, a data set
by data.py: what is added there is in the hub.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from evalkit import plugins
from evalkit.baselines import testing
from evalkit.baselines.weights import Release
from evalkit.codecs import Weighted
from evalkit.datasets.languages import NAMES
from evalkit.environment.downloads import File
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric

from . import data, models
from .server import Hub, digest


def codecs() -> dict[str, Sequence[Release]]:
    """Every codec whose weights are downloaded, once for each of its releases: its spec, and the releases behind it."""
    found: dict[str, Sequence[Release]] = {}
    for name in plugins.names("codec"):
        family = plugins.load("codec", name)
        seen = set()
        for rate in family.rates if isinstance(family, Weighted) else ():
            release = family.release(rate)
            if release is not None and (key := (release.repository, release.files)) not in seen:
                seen.add(key)
                found[f"{name}@{rate}"] = (release, *_inside(family, rate).values())
    return found


def metrics() -> dict[str, tuple[File, ...]]:
    """Every metric whose model is downloaded, and all of its files."""
    every = {name: load_metric(name) for name in plugins.names("metric")}
    held = {name: one for name, one in every.items() if isinstance(one, ModelMetric) and one.files}
    return {name: one.files_for(tuple(NAMES)) for name, one in held.items()}


def _inside(family: Any, rate: str) -> dict[str, Release]:
    return dict(family.inside(rate)) if hasattr(family, "inside") else {}


@dataclass
class Local:
    """Fills a hub; `folder` holds what it serves. Whatever has a recorded sha256 is pinned to another in the mirror."""

    folder: Path
    hub: Hub = field(default_factory=Hub)
    pinned: dict[str, str] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)

    def add_codec(self, spec: str) -> None:
        """Serve the releases behind `spec`."""
        name, _, rate = spec.partition("@")
        family = plugins.load("codec", name)
        releases = codecs()[spec]
        folder = testing.write(name, rate, self.folder / "codecs" / spec)
        below = [folder, *(folder / part for part in _inside(family, rate))]
        for release, place in zip(releases, below, strict=True):
            self._add([release.file(one) for one in release.files], place, bool(release.terms))

    def add_metric(self, name: str) -> None:
        """Serve the files behind the metric `name`."""
        files = metrics()[name]
        if str(files[0]) not in self._made:
            self._made.add(str(files[0]))
            folder = self.folder / "metrics" / (files[0].repository.replace("/", "--") or files[0].name)
            models.write(files[0].repository, files[0].name, folder)
            self._add(files, folder)

    def add_data(self, spec: str) -> None:
        """Serve the data set `spec`."""
        folder = self.folder / "data" / spec.replace("/", "-").replace(":", "-")
        if archive := data.FETCHED.get(spec):
            data.write_archive(spec, folder / archive.name)
            self._add([archive], folder)
        else:
            repository, commit = data.READ[spec]
            data.write_repository(repository, folder)
            self.hub.add("datasets", repository, commit, folder)

    def _add(self, files: Sequence[File], folder: Path, gated: bool = False) -> None:
        first = files[0]
        if first.repository:
            self.hub.add(
                "models", first.repository, None if first.revision == "main" else first.revision, folder, gated
            )
        for file in files:
            path = folder / file.name
            assert path.is_file(), f"{file} was not made: {sorted(folder.rglob('*'))}"
            if not file.repository:
                self.hub.addresses[file.url] = path
            if file.sha256 or file.code:
                self.pinned[file.key] = digest(path)


class Done(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


class Evalkit:
    """The command `evalkit`, in a process of its own that knows `local` and nothing else."""

    def __init__(self, local: Local, home: Path, offline: bool = False) -> None:
        home.mkdir(parents=True, exist_ok=True)
        mirror = home / "mirror.yaml"
        mirror.write_text(json.dumps(local.hub.mirror(local.pinned)))
        self.home = home
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "EVALKIT_"))}
        kept |= {
            "HOME": str(home), "HF_HOME": str(home / "hf"), "TORCH_HOME": str(home / "torch"),
            "XDG_CACHE_HOME": str(home / "cache"), "EVALKIT_DATA": str(home / "data"),
            "EVALKIT_CACHE": str(home / "scores"), "EVALKIT_MIRROR": str(mirror), "HF_ENDPOINT": local.hub.endpoint,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1",
            "HF_HUB_ETAG_TIMEOUT": "120", "HF_HUB_DOWNLOAD_TIMEOUT": "120",  # a busy machine is slow, and is asked once
            "no_proxy": "127.0.0.1,localhost",
        }  # fmt: skip
        kept |= {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"} if offline else {}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            env=kept, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(home / "worker.txt").open("a"),
        )  # fmt: skip

    def __call__(self, *arguments: str) -> Done:
        """Run a command."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process died: {(self.home / 'worker.txt').read_text()[-2000:]}"
        return Done(**json.loads(line))

    def must(self, *arguments: str) -> Done:
        """Run a command that has to succeed."""
        done = self(*arguments)
        assert done.code == 0, f"{done.code}: {done.err}"
        return done

    def run(self, name: str, *arguments: str) -> Path:
        """`evalkit run` on one utterance, with nothing from the cache of scores; the run's directory."""
        output = self.home / "runs" / name
        self.must("run", *arguments, "--limit", "1", "--no-cache", "--overwrite", "--output", str(output))
        return output

    def stop(self) -> None:
        """Let the process end."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)
