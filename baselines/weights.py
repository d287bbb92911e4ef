"""Weights that lie on a hub: which files, at which revision, under which license, and whether they are here."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from evalkit.codecs import READY, Availability, Codec
from evalkit.environment import extras
from evalkit.environment.downloads import File, sha256
from evalkit.errors import MissingError


@dataclass(frozen=True)
class Release:
    """Published weights."""

    repository: str
    """OWNER/NAME on the Hugging Face hub."""
    files: tuple[str, ...]
    license: str
    revision: str | None = None
    """Full commit hash; None where this project knows none, and the newest revision is taken."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """By file, where it has been recorded."""
    terms: str = ""
    """Where to accept the license before the files can be downloaded; "" where that is not asked."""

    def __str__(self) -> str:
        return f"{self.repository} ({self.revision[:12] if self.revision else 'unpinned'})"

    @property
    def what(self) -> str:
        """File, revision and license, for messages."""
        revision = f"revision {self.revision}" if self.revision else "its newest revision (none is pinned)"
        return f"{', '.join(self.files)} of {self.repository} at {revision}, license: {self.license}"

    @property
    def parts(self) -> tuple[File, ...]:
        """Each file by itself; how large they are is not recorded."""
        revision = self.revision or "main"
        return tuple(
            File(name, self.license, 0, self.repository, revision, sha256=self.sha256.get(name)) for name in self.files
        )

    def find(self) -> Path | None:
        """The folder that holds all files, where they are on this machine; asks no network."""
        paths = [path for file in self.parts if (path := file.find())]
        return self._folder(paths[0]) if len(paths) == len(self.files) else None

    def fetch(self, spec: str) -> Path:
        """The folder of the files, downloaded where they are not here, and verified where their sha256 is known.

        Raises MissingError, which names files, revision, license and the way to get them.
        """
        try:
            paths = [file.fetch(lambda name, count: None) for file in self.parts]  # the hub's package draws its own bar
        except MissingError as error:
            raise MissingError(f"{spec}: {error}. It is {self.what}. {self.remedy(spec)}") from error
        return self._folder(paths[0])

    def _folder(self, first: Path) -> Path:
        return first.parents[len(Path(self.files[0]).parts) - 1]

    def remedy(self, spec: str) -> str:
        """How to get the files, with and without a network on this machine."""
        accept = f"Accept the license at {self.terms} and log in with `hf auth login`. " if self.terms else ""
        revision = f" --revision {self.revision}" if self.revision else ""
        return (
            f"{accept}Run `evalkit fetch {spec}`; or bring the files from elsewhere (`hf download {self.repository} "
            f"{' '.join(self.files)}{revision} --local-dir DIR`) and add --weights DIR"
        )


class HubFamily(ABC):
    """A family whose weights are `Release`s: what its codecs share before any model is opened."""

    name: str
    rates: Mapping[str, float]
    package: ClassVar[str | None] = None
    """What must be installed to run it, beside torch; None where that is nothing."""

    @abstractmethod
    def release(self, rate: str) -> Release:
        """The weights at `rate`."""

    @abstractmethod
    def build_from(self, weights: Path, rate: str, device: str) -> Codec:
        """The codec at `rate` with the weights in `weights`."""

    def availability(self, rate: str) -> Availability:
        """Ready where package and weights are here; imports nothing."""
        if self.package and not (state := extras.availability(self.package, "models")).ready:
            return state
        release = self.release(rate)
        if release.find() is not None:
            return READY
        code = "needs license" if release.terms else "needs download"
        return Availability(code, f"{release.remedy(self.spec(rate))} ({release.what})")

    def build(self, rate: str, device: str = "cpu") -> Codec:
        """The codec at `rate` on `device`; raises MissingError with the remedy where its weights are not here."""
        folder = self.release(rate).find()
        if folder is None:
            raise MissingError(f"{self.spec(rate)}: {self.availability(rate).remedy}")
        return self.build_from(folder, rate, device)

    def fetch(self, rate: str) -> Path:
        """The folder of the weights at `rate`, downloaded and verified."""
        return self.release(rate).fetch(self.spec(rate))

    def spec(self, rate: str) -> str:
        return f"{self.name}@{rate}"


def locate(weights: Path, names: Iterable[str], spec: str) -> list[Path]:
    """The files `names` in the folder `weights`; raises MissingError where one is not there."""
    paths = [weights / name for name in names]
    for path in paths:
        if not path.is_file():
            raise MissingError(f"{spec}: {path} is not there; the weights are {', '.join(names)} in one folder")
    return paths


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """sha256 by file name: part of a codec's details, so that other weights never meet what was kept of these."""
    return {path.name: sha256(path) for path in paths}


def details(paths: Iterable[Path], *packages: str) -> dict[str, object]:
    """What a codec's details say where `paths` are its weights and `packages` run it, beside torch."""
    return {"weights_sha256": digests(paths), **{package: version(package) for package in (*packages, "torch")}}
