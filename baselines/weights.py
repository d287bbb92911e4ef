"""Published weights: which files, at which revision, under which license, and whether they are on this machine."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from evalkit.codecs import READY, UNPINNED, Availability, Codec, is_release
from evalkit.environment import extras
from evalkit.environment.downloads import AbsentError, File, megabytes, sha256
from evalkit.errors import MissingError

from .network import NetworkCodec


@dataclass(frozen=True)
class Release:
    """Published weights."""

    repository: str
    """OWNER/NAME on the Hugging Face hub; with an `address`, of the repository that the address leads into."""
    files: tuple[str, ...]
    license: str
    revision: str | None = None
    """Full commit hash; None where this project knows none, and the newest revision is taken. The hub looks anything
    shorter up as a branch."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """By file, where it has been recorded."""
    size: int = 0
    """Bytes of all files, about; 0 where nobody says."""
    terms: str = ""
    """Where to accept the license before the files can be downloaded; "" where that is not asked."""
    other_names: Mapping[str, str] = field(default_factory=dict)
    """By file, another name that the file may have in the repository, tried where there is none of the first."""
    address: str = ""
    """Of the folder of the files, for those that are on no hub."""

    def __str__(self) -> str:
        digest = next(iter(self.sha256.values()), "")
        at = f"({self.revision[:12]})" if self.revision else f"(sha256 {digest[:12]})" if digest else UNPINNED
        return f"{self.repository} {at}"

    @property
    def pinned(self) -> bool:
        """Whether anything says which weights these are: a revision, or the bytes."""
        return self.revision is not None or bool(self.sha256)

    @property
    def replaced(self) -> str:
        """The mirror's file whose sha256 stand in for the recorded ones; "" for none."""
        return next((found for name in self.files if (found := self.file(name).replaced)), "")

    @property
    def note(self) -> str:
        """What readers of scores should know of how sure it is which weights these are; "" for nothing."""
        if self.replaced:
            how = f"were checked against the sha256 in {self.replaced}, not the released ones"
            return f"its weights come from a mirror and {how}"
        return (
            "" if self.pinned else f"its weights are the newest revision of {self.repository}, because none is pinned"
        )

    @property
    def what(self) -> str:
        """File, revision, size and license, for messages."""
        size = f", about {megabytes(self.size)}" if self.size else ""
        checked = " (none is pinned; the sha256 is)" if self.sha256 else " (none is pinned)"
        revision = f"revision {self.revision}" if self.revision else f"its newest revision{checked}"
        return f"{', '.join(self.files)} of {self.repository} at {revision}{size}, license: {self.license}"

    def find(self) -> Path | None:
        """The folder that holds all files, where they are on this machine; asks no network."""
        paths = [path for name in self.files if (path := self._find(name))]
        return self._folder(paths[0]) if len(paths) == len(self.files) else None

    def fetch(self, spec: str) -> Path:
        """The folder of the files, downloaded where they are not here, and verified where their sha256 is known.

        Raises:
            MissingError: it cannot be had now; names files, revision, license and the way to get them.
        """
        try:
            paths = [self._fetch(name) for name in self.files]
        except MissingError as error:
            raise MissingError(f"{spec}: {error}. It is {self.what}. {self.remedy(spec)}") from error
        return self._folder(paths[0])

    def verify(self) -> None:
        """Raises MissingError where a file that is on this machine is not the one whose sha256 was recorded."""
        for name in self.files:
            if self.file(name).find():
                self.file(name).open()

    def remedy(self, spec: str) -> str:
        """How to get the files, with and without a network on this machine."""
        accept = f"Accept the license at {self.terms} and log in with `hf auth login`. " if self.terms else ""
        revision = f" --revision {self.revision}" if self.revision else ""
        elsewhere = f"`hf download {self.repository} {' '.join(self.files)}{revision} --local-dir DIR`"
        if self.address:
            elsewhere = f"{', '.join(self.files)} from {self.address} into a folder DIR"
        return (
            f"{accept}Run `evalkit fetch {spec}`; or download the files elsewhere ({elsewhere}) and add --weights DIR"
        )

    def file(self, name: str) -> File:
        """The file `name` by itself; `size` is recorded for all of them together only."""
        if self.address:
            kept = f"weights/{self.repository}/{self.revision}/{name}"
            return File(name, self.license, 0, url=f"{self.address}/{name}", kept=kept, sha256=self.sha256.get(name))
        return File(name, self.license, 0, self.repository, self.revision or "main", sha256=self.sha256.get(name))

    def _find(self, name: str) -> Path | None:
        other = self.other_names.get(name)
        return self.file(name).find() or (self.file(other).find() if other else None)

    def _fetch(self, name: str) -> Path:
        def silent(name: str, count: int) -> None:
            """The hub's package draws a bar of its own."""

        if (other := self.other_names.get(name)) is None:
            return self.file(name).fetch(silent)
        if self.file(name).find() is None and (path := self.file(other).find()):
            return path
        try:
            return self.file(name).fetch(silent)
        except AbsentError:
            return self.file(other).fetch(silent)

    def _folder(self, first: Path) -> Path:
        return first.parents[len(Path(self.files[0]).parts) - 1]


class ReleasedFamily(ABC):
    """A family whose weights are `Release`s: what its codecs share before any model is opened.

    A codec is called `NAME@RATE` where its weights are the release's, whether they come from the cache or by
    --weights; with other weights the name of their file or folder is added.
    """

    name: str
    rates: Mapping[str, float]
    default_rate: str
    license: str
    published: ClassVar[Release]
    """The weights, of a family with one release for all rates."""
    package: ClassVar[str | None] = None
    """What must be installed to run it, beside torch; None where that is nothing."""

    def release(self, rate: str) -> Release:
        """The weights at `rate`; a family with several releases says which."""
        return self.published

    @abstractmethod
    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec at `rate` with the weights in the file or folder `weights`, called `NAME@RATE`.

        Raises:
            MissingError: they are not there, are damaged, or are those of another model.
        """

    def inside(self, rate: str) -> Mapping[str, Release]:
        """Releases of further models that the codec at `rate` has inside, by the folder that each has below a folder of
        weights; in the hub's cache, each lies by itself."""
        return {}

    def note(self, rate: str) -> str:
        """What readers of the release's scores should know; "" where that is nothing."""
        return ""

    def availability(self, rate: str) -> Availability:
        """Ready where package and weights are here; imports nothing."""
        if self.package and not (state := extras.availability(self.package, "models")).ready:
            return state
        missing = [release for release in self._all(rate) if release.find() is None]
        if not missing:
            return READY
        code = "needs license" if any(release.terms for release in missing) else "needs download"
        what = "; ".join(release.what for release in missing)
        first = "" if all(release.address for release in missing) else extras.hub_first()
        return Availability(code, f"{first}{self.release(rate).remedy(self.spec(rate))} ({what})")

    def build(self, rate: str, device: str = "cpu") -> Codec:
        """The codec at `rate` on `device`.

        Raises:
            MissingError: its weights are not here, or are not those whose sha256 was recorded.
        """
        folder, state = self.release(rate).find(), self.availability(rate)
        if folder is None or not state.ready:
            raise MissingError(f"{self.spec(rate)}: {state.remedy}")
        for release in self._all(rate):
            release.verify()
        codec, releases = self.open(folder, rate, device), self._all(rate)
        if replaced := dict.fromkeys(release.replaced for release in releases if release.replaced):
            codec.name = f"{codec.name} ({', '.join(replaced)})"
        notes = [self.note(rate), *(release.note for release in releases)]
        codec.note = "; ".join(filter(None, notes))
        return codec

    def build_from(self, weights: Path, rate: str, device: str = "cpu") -> Codec:
        """The codec with the weights in the file or folder `weights`, instead of those that were downloaded.

        Raises:
            MissingError: they are not there, are damaged, or are those of another model.
        """
        codec = self.open(weights, rate, device)
        if is_release(self, rate, codec):
            codec.note = self.note(rate)
        else:
            codec.name = f"{codec.name} ({file_name(weights)})"
        return codec

    def fetch(self, rate: str) -> Path:
        """The folder of the weights at `rate`, downloaded and verified, with what the codec has inside."""
        folder, *_ = [release.fetch(self.spec(rate)) for release in self._all(rate)]
        return folder

    def release_sha256(self, rate: str) -> Mapping[str, str]:
        """sha256 of the released files at `rate`, as far as they were recorded."""
        return {name: digest for release in self._all(rate) for name, digest in release.sha256.items()}

    def folder_inside(self, name: str, weights: Path, rate: str) -> Path:
        """Where the model `name` of `inside` lies: below the folder `weights`, or in the hub's cache.

        Raises:
            MissingError: it is in neither.
        """
        release, below = self.inside(rate)[name], weights / name
        folder = below if below.is_dir() else release.find()
        if folder is None:
            spec = self.spec(rate)
            raise MissingError(f"{spec}: {below} is not there; run `evalkit fetch {spec}`. It is {release.what}")
        return folder

    def _all(self, rate: str) -> list[Release]:
        return [self.release(rate), *self.inside(rate).values()]

    def spec(self, rate: str) -> str:
        """`NAME@RATE`."""
        return f"{self.name}@{rate}"


def file_name(weights: Path) -> str:
    """The name of a file or folder, `.` and links left unresolved."""
    return Path(os.path.abspath(weights)).name


def locate(weights: Path, names: Iterable[str], spec: str) -> list[Path]:
    """Find files in a folder.

    Args:
        weights: The folder.
        names: Of the files.
        spec: What the codec is called, for messages.

    Returns:
        Their paths, in order.

    Raises:
        MissingError: One is not there.
    """
    paths = [weights / name for name in names]
    for path in paths:
        if not path.is_file():
            raise MissingError(f"{spec}: {path} is not there; the weights are {', '.join(names)} in one folder")
    return paths


def details(paths: Iterable[Path], *packages: str) -> dict[str, object]:
    """What a codec's details say of its weights.

    Args:
        paths: Of the weights.
        *packages: Which run it, beside torch.

    Returns:
        sha256 by file, and versions by package.
    """
    digests = {path.name: sha256(path) for path in paths}
    return {"weights_sha256": digests, **{package: version(package) for package in (*packages, "torch")}}
