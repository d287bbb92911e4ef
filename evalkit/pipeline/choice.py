"""Which systems a run compares: `[LABEL=]NAME[@RATE]`, with other weights, or with audio that was decoded elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from types import MappingProxyType

from evalkit import plugins
from evalkit.codecs import READY, Availability, Codec, CodecFamily, Weighted, check_declared
from evalkit.environment.contained import opening
from evalkit.errors import MissingError, UsageError
from evalkit.files import expanded, is_text, shown


@dataclass(frozen=True)
class CodecChoice:
    """A family and one of its rates: what `NAME@RATE` on the command line means."""

    family: CodecFamily
    rate: str
    weights: Path | None = None
    """Instead of the family's own."""
    rendered: Path | None = None
    """Folder of audio that the codec decoded elsewhere, instead of running it."""
    label: str = ""
    """How its rows are called; "" for the codec's own name."""

    @property
    def bitrate(self) -> float:
        """Declared bit/s."""
        return self.family.rates[self.rate]

    @property
    def spec(self) -> str:
        """`NAME@RATE`."""
        return f"{self.family.name}@{self.rate}"

    @property
    def declared_bitrate(self) -> float | None:
        """Declared bit/s; None where the family declares none."""
        return self.bitrate if isfinite(self.bitrate) else None

    @property
    def rendered_name(self) -> str:
        """How rows of its rendered audio are called."""
        assert self.rendered is not None
        name = self.spec if self.declared_bitrate else self.rendered.resolve().name
        return self.label or f"{name} (rendered)"

    def availability(self) -> Availability:
        """Whether it can run here; what --weights and --rendered name is looked at when the run starts."""
        if self.weights or self.rendered:
            return READY
        with opening(f"{self.spec} cannot be used"):
            state = self.family.availability(self.rate)
            if not isinstance(state, Availability):
                raise UsageError(f"{self.spec}: availability() gives {state!r}, not an Availability")
        return state

    def audio(self) -> list[Path]:
        """The folder of audio that --rendered names."""
        return [] if self.rendered is None else [self.rendered]

    def build(self, device: str = "cpu") -> Codec:
        """The codec on `device`.

        Raises:
            UsageError: --weights is given for a codec without weights, or the codec says of itself what no codec can.
            MissingError: something is not on this machine.
        """
        if self.weights is None:
            codec = self.family.build(self.rate, device)
        elif isinstance(self.family, Weighted):
            codec = self.family.build_from(self.weights, self.rate, device)
        else:
            raise UsageError(f"{self.spec} has no weights for --weights to replace")
        check_declared(codec)
        return codec


@dataclass(frozen=True)
class RenderedChoice:
    """A system of which only decoded files are at hand: `evalkit score`."""

    spec: str
    files: Mapping[str, Path | None]
    """By utterance; None where there is no decoded file."""
    kbps: Mapping[str, float]
    """By utterance, where it was declared."""
    extra: Mapping[str, Mapping[str, str]]
    """By utterance: further columns of a manifest."""
    place: str
    """The folder or manifest that names them."""

    def availability(self) -> Availability:
        return READY

    def audio(self) -> list[Path]:
        """Its files."""
        return [file for file in self.files.values() if file is not None]


SystemChoice = CodecChoice | RenderedChoice


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
    """The codec that a word of the command line names.

    Args:
        spec: `[LABEL=]NAME[@RATE]` or `[LABEL=]FILE.py:NAME[@RATE]`.
        bitrate: RATE where `spec` has none; None for the family's default.

    Raises:
        UsageError: An unknown name or rate; the message lists those there are.
        MissingError: The code behind it cannot be imported.
    """
    label, equals, named = spec.partition("=")
    if not equals or "/" in label:
        label, named = "", spec
    file, rest = plugins.split_file(named)
    name, _, rate = (file, "", rest.removeprefix("@")) if file else named.partition("@")
    thing = plugins.load("codec", name)
    with opening(f"codec {name!r} cannot be used"):
        return _choice(thing, shown(label), rate or bitrate)


def choose_object(thing: object, bitrate: str | None = None) -> CodecChoice:
    """The codec that `thing` is: a CodecChoice, a family, or a codec; raises UsageError for anything else."""
    return thing if isinstance(thing, CodecChoice) else _choice(thing, "", bitrate)


def _choice(thing: object, label: str, wanted: str | None) -> CodecChoice:
    if isinstance(thing, Codec | type):
        family: CodecFamily = OneCodec(thing)
        label = label or family.name
    elif hasattr(thing, "rates") and hasattr(thing, "build"):
        family = thing  # type: ignore[assignment]
    else:
        raise UsageError(
            f"{thing!r} is not a codec: it must follow evalkit.codecs.Codec or CodecFamily, and lacks "
            f"{', '.join(lacking(thing, Codec))}"
        )
    if not is_text(family.name):
        raise UsageError(f"{thing!r}: the name of a codec must be a string, not {family.name!r}")
    return CodecChoice(family, family.default_rate if wanted is None else _rate(family, wanted), label=label)


def lacking(thing: object, protocol: type) -> list[str]:
    """What `protocol` asks for and `thing` does not have."""
    wanted = {*protocol.__annotations__, *(name for name in vars(protocol) if not name.startswith("_"))}
    return [name for name in sorted(wanted) if not hasattr(thing, name)]


class OneCodec:
    """The family of a codec that was given as an object, or as a class whose instances are codecs."""

    default_rate = "given"
    rates: Mapping[str, float] = MappingProxyType({default_rate: nan})
    license = ""

    def __init__(self, codec: object) -> None:
        self._codec = codec
        self.name = str(getattr(codec, "name", "") or getattr(codec, "__name__", "codec"))

    def availability(self, rate: str) -> Availability:
        return READY

    def build(self, rate: str, device: str) -> Codec:
        codec = self._codec() if isinstance(self._codec, type) else self._codec
        if not isinstance(codec, Codec):
            raise UsageError(f"{codec!r} is not a codec: it lacks {', '.join(lacking(codec, Codec))}")
        return codec


def _rate(family: CodecFamily, wanted: str) -> str:
    if wanted in family.rates:
        return wanted
    value = parse_bitrate(wanted)
    for label in family.rates:
        if abs(parse_bitrate(label.split("-")[0]) - value) < 0.5:
            return label
    raise UsageError(f"{family.name} has no bitrate {wanted!r}. Known: {', '.join(known_specs([family]))}.")


def choose_all(specs: Sequence[object], bitrate: str | None = None) -> tuple[CodecChoice, ...]:
    """The codecs that `specs` name or are; raises UsageError where two of them would have the same rows."""
    choices = [choose(one, bitrate) if isinstance(one, str) else choose_object(one, bitrate) for one in specs]
    names = [choice.label or choice.spec for choice in choices]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name} is named twice: give one of them a label, --codec LABEL={name}")
    return tuple(choices)


AVAILABLE = "available"
"""Among --codec: leave out what cannot run here."""


def available_codecs(
    wanted: Sequence[str], weights: Sequence[str] = (), rendered: Sequence[str] = (), bitrate: str | None = None
) -> tuple[list[str], dict[str, str]]:
    """What --codec means, and what was left out for `available`, with what would make it ready.

    Without that word it means `wanted` itself; with it, those of the others that can run here or, where it stands
    alone, every codec that can, at its default rate. Raises MissingError where nothing is left.
    """
    if AVAILABLE not in wanted:
        return list(wanted), {}
    named = [one for one in wanted if one != AVAILABLE]
    states: dict[str, Availability] = {}
    if named:
        chosen = assign(assign(choose_all(named, bitrate), weights, "--weights"), rendered, "--rendered")
        states = {spec: one.availability() for spec, one in zip(named, chosen, strict=True)}
    for name in () if named else plugins.names("codec"):
        try:
            choice = choose(name, bitrate)
        except (UsageError, MissingError):  # no such rate, or it does not load: `evalkit list codecs` says so
            continue
        if choice.availability().ready:
            states[choice.spec] = READY
    ready = [spec for spec, state in states.items() if state.ready]
    left_out = {spec: f"{state.code}. {state.remedy}" for spec, state in states.items() if not state.ready}
    if not ready:
        raise MissingError("none of these codecs can run here yet:\n" + "\n".join(map(": ".join, left_out.items())))
    return ready, left_out


def assign(choices: Sequence[CodecChoice], paths: Sequence[str], flag: str) -> tuple[CodecChoice, ...]:
    """Codecs with paths of the command line.

    Args:
        choices: Those that were chosen.
        paths: Each PATH, where there is only one codec, or NAME=PATH, NAME@RATE=PATH or LABEL=PATH.
        flag: What they are: `--weights` or `--rendered`.

    Returns:
        `choices` in their order, each with its path.

    Raises:
        UsageError: It is not clear which codec is meant, or one is given two paths.
    """
    assigned = list(choices)
    for text in paths:
        name, path = _split_path(text, choices)
        matches = [i for i, one in enumerate(assigned) if name in ("", one.label, one.family.name, one.spec)]
        labelled = [i for i in matches if name and assigned[i].label == name]
        matches = labelled or matches
        if len(matches) != 1:
            wanted = ", ".join(f"{flag} {one.label or one.spec}=PATH" for one in choices)
            raise UsageError(f"{flag} {text}: which codec is this for? Write {wanted}.")
        one = assigned[matches[0]]
        before = one.weights if flag == "--weights" else one.rendered
        if before is not None:
            raise UsageError(f"{flag} is given twice for {one.label or one.spec}: {before} and {path}")
        place = expanded(path)
        assigned[matches[0]] = replace(one, weights=place) if flag == "--weights" else replace(one, rendered=place)
    return tuple(assigned)


def _split_path(text: str, choices: Sequence[CodecChoice]) -> tuple[str, str]:
    """Name and path of `[NAME=]PATH`; a path may hold `=` itself."""
    name, equals, path = text.partition("=")
    known = {n for one in choices for n in (one.label, one.family.name, one.spec)}
    if equals and (name in known or not expanded(text).exists()):
        return name, path
    return "", text


def known_specs(families: Sequence[CodecFamily]) -> list[str]:
    """`NAME@RATE` of every rate, lowest first."""
    return [f"{f.name}@{rate}" for f in families for rate in sorted(f.rates, key=lambda r: f.rates[r])]
