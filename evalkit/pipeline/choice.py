"""Which codec a command line names: `NAME@RATE`, with other weights or with audio that was decoded elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from pathlib import Path

from evalkit import plugins
from evalkit.audio_files import audio_files
from evalkit.codecs import READY, Availability, Codec, CodecFamily, Weighted
from evalkit.errors import AudioError, UsageError
from evalkit.files import nfc, shown


@dataclass(frozen=True)
class Rendered:
    """Audio that some codec decoded elsewhere, one file an utterance: stands where a Codec cannot be had."""

    name: str
    folder: Path
    bitrate: float | None
    """Declared bit/s; None where nobody declared it. Nothing can be measured without codes."""

    def file(self, utterance: str) -> Path:
        """The audio file of `utterance`, with any suffix; an id with slashes is a path below the folder, never one
        that leads out of it. Raises AudioError where there is no such file, or more than one."""
        found = self._files.get(nfc(utterance), [])
        if not found:
            raise AudioError(f"{shown(self.folder)} has no audio file named {utterance}")
        if len(found) > 1:
            raise AudioError(f"{shown(found[0])} and {shown(found[1])} have the same name: keep one of them")
        return found[0]

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        return audio_files(self.folder).files


@dataclass(frozen=True)
class CodecChoice:
    """A family and one of its rates: what `NAME@RATE` on the command line means."""

    family: CodecFamily
    rate: str
    weights: Path | None = None
    """Instead of the family's own."""
    rendered: Path | None = None
    """Folder of audio that the codec decoded elsewhere, instead of running it."""

    @property
    def bitrate(self) -> float:
        """Declared bit/s."""
        return self.family.rates[self.rate]

    @property
    def spec(self) -> str:
        return f"{self.family.name}@{self.rate}"

    def availability(self) -> Availability:
        return READY if self.weights or self.rendered else self.family.availability(self.rate)

    def build(self, device: str = "cpu") -> Codec | Rendered:
        """The codec, or the folder that stands for it. Raises UsageError where --weights or --rendered cannot be
        meant, MissingError where something is not here."""
        if self.rendered is not None:
            if not self.rendered.is_dir():
                raise UsageError(f"--rendered {self.rendered}: no such folder")
            bitrate = self.bitrate if isfinite(self.bitrate) else None
            name = self.spec if bitrate else self.rendered.resolve().name
            return Rendered(f"{name} (rendered)", self.rendered, bitrate)
        if self.weights is None:
            return self.family.build(self.rate, device)
        if not isinstance(self.family, Weighted):
            raise UsageError(f"{self.spec} has no weights that --weights could replace")
        return self.family.build_from(self.weights, self.rate, device)


def parse_bitrate(text: str) -> float:
    """Bit/s of `1.1k`, `1100`, `6kbps`; raises UsageError for anything else."""
    number = text.lower().removesuffix("bps").removesuffix("bit/s").strip()
    factor = 1000.0 if number.endswith("k") else 1.0
    try:
        value = float(number.removesuffix("k")) * factor
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"bitrate {text!r} is not a number of bit/s: write 1.1k, 1100 or 6kbps")
    return value


def choose(spec: str, bitrate: str | None = None) -> CodecChoice:
    """The codec that `NAME` or `NAME@RATE` names; `bitrate` is used where the spec has none.

    Raises UsageError that lists the known names or rates.
    """
    name, _, rate = spec.partition("@")
    family: CodecFamily = plugins.load("codec", name)
    wanted = rate or bitrate
    if wanted is None:
        return CodecChoice(family, family.default_rate)
    if wanted in family.rates:
        return CodecChoice(family, wanted)
    value = parse_bitrate(wanted)
    for label in family.rates:
        if abs(parse_bitrate(label.split("-")[0]) - value) < 0.5:
            return CodecChoice(family, label)
    raise UsageError(f"{name} has no bitrate {wanted!r}. Known: {', '.join(known_specs([family]))}.")


def assign(choices: Sequence[CodecChoice], paths: Sequence[str], flag: str) -> tuple[CodecChoice, ...]:
    """`choices` with the paths of --weights or --rendered: each is PATH, where there is only one codec, or
    NAME=PATH or NAME@RATE=PATH. Raises UsageError where it is not clear which codec is meant."""
    assigned = list(choices)
    for text in paths:
        name, _, path = text.rpartition("=")
        matches = [i for i, one in enumerate(assigned) if not name or name in (one.family.name, one.spec)]
        if len(matches) != 1:
            wanted = ", ".join(f"{flag} {one.spec}=PATH" for one in choices)
            raise UsageError(f"{flag} {text}: which codec is meant? Write {wanted}.")
        one, place = assigned[matches[0]], Path(path).expanduser()
        assigned[matches[0]] = replace(one, weights=place) if flag == "--weights" else replace(one, rendered=place)
    return tuple(assigned)


def known_specs(families: Sequence[CodecFamily]) -> list[str]:
    """`NAME@RATE` of every rate, lowest first."""
    return [f"{f.name}@{rate}" for f in families for rate in sorted(f.rates, key=lambda r: f.rates[r])]
