"""The codec protocol: what evalkit expects of a codec, and how `NAME@RATE` becomes one.

A *family* is what the entry points `evalkit.codecs` register: a name, bitrates, and a way to build the codec at each of
them. Third-party codecs need only this module of evalkit.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log2, nan
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment.availability import READY as READY
from evalkit.environment.availability import Availability
from evalkit.errors import CodecError, UsageError
from evalkit.files import is_text
from evalkit.results.record import Record

LOWEST_RATE, HIGHEST_RATE = 1000, 384_000
"""Hz between which a codec may work."""


@dataclass(frozen=True)
class Codes:
    """What a codec transmits for one utterance.

    Codecs with codebooks fill `indices` [K, N] (int64) and `codebook_sizes` (K sizes). Codecs with their own bitstream
    fill `payload` (one bytes object per packet) and `payload_bits`, counted exactly, not rounded up to bytes.
    Continuous codecs, which transmit unquantized numbers, fill `latents` [D, N] (float32) and have no bitrate.
    `length` is the number of input samples, at the codec's own rate.

    `extra` holds, by name, whatever else the decoder needs once per utterance (a speaker embedding, a gain);
    `extra_bits` is its size, which counts towards the bitrate.
    """

    length: int
    indices: NDArray[np.int64] | None = None
    codebook_sizes: tuple[int, ...] = ()
    payload: tuple[bytes, ...] = ()
    payload_bits: int = 0
    latents: NDArray[np.float32] | None = None
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    extra_bits: int = 0

    def __post_init__(self) -> None:
        if self.extra and not self.extra_bits:
            raise ValueError(
                f"side information ({', '.join(self.extra)}) counts towards the bitrate: set extra_bits to its size"
            )
        if self.indices is not None and self.indices.shape[:1] != (len(self.codebook_sizes),):
            raise ValueError(
                f"indices of shape {self.indices.shape} for {len(self.codebook_sizes)} codebooks: each codebook "
                f"needs one row"
            )

    @property
    def bits(self) -> float:
        """Bits sent for this utterance: tokens x log2(codebook size) or the payload's bits, plus side information; NaN
        for continuous codecs, whose latents have no defined size in bits."""
        if self.latents is not None:
            return nan
        if self.indices is None:
            return float(self.payload_bits + self.extra_bits)
        return self.indices.shape[1] * sum(log2(size) for size in self.codebook_sizes) + self.extra_bits


@runtime_checkable
class Codec(Protocol):
    """One codec at one bitrate. It may declare more: see `Annotated`."""

    name: str
    """Its name in rows and tables, for instance `opus@6k`."""
    sample_rate: int | None
    """Hz, of the input of `encode` and the output of `decode`; None for any rate. See `Widening` for two rates."""
    frame_rate: float | None
    """Frames per second; None for codecs without frames, or with frames of unequal length."""
    codebook_sizes: tuple[int, ...]
    """Size of each codebook; empty for codecs with their own bitstream."""
    streaming: bool
    """Whether decoding needs no future frames."""
    details: Mapping[str, object]
    """Everything else that changes the output, as JSON values: settings, versions of libraries and, for codecs with
    weights, `weights_sha256`: the sha256 of each file by name. It is recorded in the provenance of a run and is part of
    the cache key."""

    def encode(self, wav: Wave) -> Codes:
        """Encode one utterance.

        Args:
            wav: float32 [T], T >= 1, at `sample_rate`, full scale +-1; may be read-only.

        Returns:
            Its codes: int64 [K, N], or a payload, with `length` = T.
        """
        ...

    def decode(self, codes: Codes) -> Wave:
        """Decode one utterance.

        Args:
            codes: as `encode` returned them.

        Returns:
            float32 [codes.length] at `sample_rate`, finite, full scale +-1.
        """
        ...


@runtime_checkable
class Annotated(Protocol):
    """A codec with a note for readers of its scores."""

    note: str
    """A clause that is printed below tables; "" for none."""
    trained_on_metrics: tuple[str, ...]
    """Metrics in its training loss, which overrate it: tables never mark it as best by them."""


@runtime_checkable
class Batched(Protocol):
    """A codec that can process several utterances at once (`run --batch`); others process them one by one."""

    batch_equal: bool
    """Whether a batch gives the results of single runs, apart from 1 in 1,000 codes and 1e-4 in samples. If not, the
    codec in batches counts as another codec in tables and in the cache."""

    def encode_batch(self, wavs: Sequence[Wave]) -> list[Codes]:
        """Encode utterances of any lengths; see `Codec.encode`."""
        ...

    def decode_batch(self, codes: Sequence[Codes]) -> list[Wave]:
        """Decode what `encode_batch` returned; see `Codec.decode`."""
        ...


@runtime_checkable
class Residual(Protocol):
    """A codec whose codebooks each refine the previous ones."""

    residual: bool
    """Whether `decode` takes the first n rows of the indices, with the first n codebook sizes, alone."""


@runtime_checkable
class Fielded(Protocol):
    """A codec with a bitstream whose packets are made of fields, such as pitch and energy."""

    def fields(self, codes: Codes) -> Codes:
        """The fields as indices [fields, packets], with the number of values of each, to be compared like tokens."""
        ...


@runtime_checkable
class Widening(Protocol):
    """A codec that decodes at a different rate than it encodes, for instance 16 kHz to 24 kHz."""

    output_rate: int
    """Hz, of what `decode` returns: ceil(length * output_rate / sample_rate) samples."""


def decoded_shape(codec: Codec, length: int, rate: int) -> tuple[int, int]:
    """Samples, and their rate in Hz, of what `codec` decodes `length` samples at `rate` to."""
    if not isinstance(codec, Widening):
        return length, rate
    return -(-length * codec.output_rate // rate), codec.output_rate


def plain(value: Any) -> Any:
    """A number of numpy as Python's own, which JSON holds; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


UNPINNED = "(unpinned)"
PADDING, BATCH, LEVEL = "padding", "batch", "level"
"""What tokens may depend on, beside the audio about them: see `CodecInfo.depends_on`."""


@dataclass(frozen=True)
class CodecInfo(Record):
    """What is known about a codec at one rate. A family states what it knows without building the codec, for `evalkit
    list codecs`; a run adds what only the codec knows, for its provenance. Unknown fields are None, "" or empty."""

    sample_rate: int | None = None
    """Hz."""
    frame_rate: float | None = None
    """Frames a second."""
    codebook_sizes: tuple[int, ...] = ()
    parameters: int | None = None
    """Learned parameters that encoding and decoding use, including codebooks."""
    code_license: str = ""
    weights_license: str = ""
    weights: str = ""
    """Source and revision of the weights; ends in `UNPINNED` if neither revision nor sha256 is known."""
    causal: bool | None = None
    """Whether decoding needs no future frames."""
    listed: bool = True
    """Whether `evalkit list codecs` shows this rate without `--json`; families with many rates show only some."""
    spec: str = ""
    """`NAME@RATE` that the user asked for."""
    details: Mapping[str, object] = field(default_factory=dict)
    """`Codec.details`: sha256 of the weights, settings, versions of libraries."""
    rendered: str = ""
    """The folder or manifest of its decoded audio, if the codec itself was not run."""
    declared_bitrate: float | None = None
    """Bit/s of rendered audio, as declared."""
    trained_on_metrics: tuple[str, ...] = ()
    """Metrics in its training loss."""
    released: bool | None = None
    """Whether the weights are, byte for byte, those released as `spec`; None if no sha256 of the release is known."""
    codes_sha256: str = ""
    """`fingerprint` of the codes of all utterances without a condition, for codecs with codebooks."""
    output_rate: int | None = None
    """Hz of the decoded audio, if it is not `sample_rate`."""
    variable: bool = False
    """Whether frames differ in length."""
    continuous: bool = False
    """Whether it transmits unquantized numbers instead of tokens, so that it has no bitrate."""
    extra_bits: int = 0
    """Bits of side information per utterance."""
    depends_on: tuple[str, ...] | None = None
    """What changes an utterance's tokens: `PADDING` (appended silence changes tokens long before it), `BATCH` (other
    utterances in the batch), `LEVEL` (loudness; without it, tokens do not carry the loudness to decode at). None if
    unknown. `evalkit.testing.check_codec` compares it with measurements."""

    def output(self) -> dict[str, object]:
        """What determines a codec's output: its part of the cache key."""
        return {
            "sample_rate": self.sample_rate,
            "frame_rate": self.frame_rate,
            "codebook_sizes": list(self.codebook_sizes),
            "streaming": self.causal,
            "details": dict(self.details),
            **({} if self.output_rate is None else {"output_rate": self.output_rate}),
        }


class CodecFamily(Protocol):
    """A codec at all of its bitrates. It may declare more: see `Described` and `Weighted`."""

    name: str
    rates: Mapping[str, float]
    """Exact bit/s that the codec declares, by label such as `1.1k`."""
    default_rate: str
    license: str
    """License of the code and, if there are any, of the weights."""

    def availability(self, rate: str) -> Availability:
        """Whether the codec can run at `rate` now. Cheap: loads no model."""
        ...

    def build(self, rate: str, device: str) -> Codec:
        """Open the codec.

        Args:
            rate: one of `rates`.
            device: a device of torch, for codecs that run there.

        Raises:
            MissingError: `availability(rate)` is not ready; the message holds the remedy.
        """
        ...


@runtime_checkable
class Described(Protocol):
    """A family that fills the columns of `evalkit list codecs`."""

    def info(self, rate: str) -> CodecInfo:
        """The properties of the codec at `rate`. Cheap: loads no model."""
        ...


@runtime_checkable
class Weighted(Protocol):
    """A family whose codecs read weights from a file or folder, for `evalkit fetch` and `--weights`."""

    def fetch(self, rate: str) -> Path:
        """Download the weights if they are not on this machine, and verify them.

        Args:
            rate: one of `rates`.

        Returns:
            The file or folder where they are.

        Raises:
            MissingError: The download is not possible now; the message names file, revision, license and remedy.
        """
        ...

    def build_from(self, weights: Path, rate: str, device: str) -> Codec:
        """Open the codec with other weights.

        Args:
            weights: a file or folder.
            rate: one of `rates`.
            device: a device of torch.

        Raises:
            MissingError: The weights are missing or do not fit.
        """
        ...

    def release_sha256(self, rate: str) -> Mapping[str, str]:
        """The recorded sha256 of the published weights at `rate`, by file; empty if none is recorded."""
        ...


def is_release(family: object, rate: str, codec: Codec) -> bool | None:
    """Whether `codec` uses the published weights, byte for byte.

    Args:
        family: The `CodecFamily` that built it.
        rate: The label it was built with.
        codec: Its `details["weights_sha256"]` has the sha256 of every file, whatever the file is called.

    Returns:
        True if all recorded sha256 are among those of the codec's files, False if one is not, None if none is recorded,
        so that the release cannot be recognized.
    """
    recorded = family.release_sha256(rate) if isinstance(family, Weighted) else {}
    used = codec.details.get("weights_sha256", {})
    if not recorded:
        return None
    return isinstance(used, Mapping) and set(recorded.values()) <= set(used.values())


def fingerprint(codes: Mapping[str, Codes]) -> str:
    """sha256 over the ids of utterances and the indices of their codes, in any order; "" if there are no codes, or if
    some have no indices."""
    if not codes or any(one.indices is None for one in codes.values()):
        return ""
    digest = hashlib.sha256()
    for utterance, one in sorted(codes.items()):
        assert one.indices is not None
        name = utterance.encode(errors="surrogatepass")
        digest.update(f"{len(name)}:".encode() + name + f":{'x'.join(map(str, one.indices.shape))}:".encode())
        digest.update(np.ascontiguousarray(one.indices, "<i8").tobytes())
    return digest.hexdigest()


def check_declared(codec: Codec) -> None:
    """Raise UsageError, which names what is wrong, unless `codec` declares what the protocol requires."""
    name, sizes = codec.name, codec.codebook_sizes

    def require(kept: bool, what: str, value: object, wanted: str) -> None:
        if not kept:
            raise UsageError(f"codec {name!r}: {what} must be {wanted}, not {str(value)[:100]!r}")

    require(is_text(name), "name", name, "a string")
    for what, least in (("sample_rate", LOWEST_RATE), ("frame_rate", 0)):
        value = getattr(codec, what)
        kinds = (int, np.integer) if what == "sample_rate" else (int, float, np.number)
        number = isinstance(value, kinds) and not isinstance(value, bool) and bool(least <= value <= HIGHEST_RATE)
        require(value is None or number, what, value, f"a number from {least} to {HIGHEST_RATE}, or None")
    whole = isinstance(sizes, tuple | list) and all(isinstance(one, int | np.integer) and one > 0 for one in sizes)
    require(whole and all(one < 2**63 for one in sizes), "codebook_sizes", sizes, "a tuple of whole numbers above 0")
    try:
        json.dumps(dict(codec.details), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        require(False, "details", codec.details, "a mapping of JSON values")


def check_codes(codec: Codec, codes: object, length: int) -> None:
    """Raise CodecError, which names what is wrong, unless `codes` is what `codec.encode` may return for `length`
    samples."""

    def refuse(problem: str) -> None:
        raise CodecError(f"encode returned {problem}")

    if not isinstance(codes, Codes):
        refuse(f"{_named(codes)}; it must be evalkit.codecs.Codes")
    assert isinstance(codes, Codes)
    if codes.length != length:
        refuse(f"Codes of length {codes.length!r} for {length} samples")
    if isinstance(codes.extra_bits, bool) or not isinstance(codes.extra_bits, int | np.integer) or codes.extra_bits < 0:
        refuse(f"extra_bits = {codes.extra_bits!r}; it must be a whole number, 0 or more")
    indices, latents = codes.indices, codes.latents
    if latents is not None:
        if not isinstance(latents, np.ndarray) or latents.dtype != np.float32 or latents.ndim != 2:
            refuse(f"latents of {_named(latents)}; they must be a float32 array [D, N]")
        if indices is not None or codec.codebook_sizes or codes.payload_bits:
            refuse("latents beside tokens or a payload; a continuous codec sends nothing else")
        if not np.isfinite(latents).all():
            refuse("latents that are NaN or infinite")
        return
    if indices is None:
        if codec.codebook_sizes:
            refuse(f"no indices, though the codec declares {len(codec.codebook_sizes)} codebook(s)")
        if isinstance(codes.payload_bits, bool) or not isinstance(codes.payload_bits, int | np.integer):
            refuse(f"payload_bits of {_named(codes.payload_bits)}; it must be a whole number")
        if codes.payload_bits < 0:
            refuse(f"payload_bits = {codes.payload_bits}")
        return
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int64 or indices.ndim != 2:
        refuse(f"indices of {_named(indices)}; they must be an int64 array [K, N]")
    if tuple(codes.codebook_sizes) != tuple(codec.codebook_sizes):
        refuse(f"codebook_sizes {codes.codebook_sizes}; the codec declares {codec.codebook_sizes}")
    for number, (row, size) in enumerate(zip(indices, codes.codebook_sizes, strict=True), start=1):
        if row.size and not 0 <= row.min() <= row.max() < size:
            refuse(f"indices from {row.min()} to {row.max()} for codebook {number}, which has {size} entries")


def check_decoded(wav: object, length: int) -> None:
    """Raise CodecError, which names what is wrong, unless `wav` is what `Codec.decode` may return for codes of
    `length` samples."""
    if not isinstance(wav, np.ndarray) or wav.dtype != np.float32 or wav.ndim != 1:
        raise CodecError(f"decode returned {_named(wav)}; it must be a float32 array [T]")
    if len(wav) != length:
        raise CodecError(f"decode returned {len(wav)} samples for {length}")
    if not np.isfinite(wav).all():
        raise CodecError("decode returned NaN or infinite samples")


def _named(value: object) -> str:
    """Type of `value`, and of an array its dtype and shape."""
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array {list(value.shape)}"
    return f"{value!r}" if value is None or isinstance(value, bool | int | float) else f"a {type(value).__name__}"


@runtime_checkable
class Randomizable(Protocol):
    """A family whose architecture is known without its weights, for `evalkit bench --random-weights`."""

    def random(self, rate: str, device: str) -> Codec:
        """The codec at `rate`, in its released size, with random weights: for what does not depend on them, such as
        speed, memory and latency."""
        ...


@dataclass(frozen=True)
class Network:
    """The network of a neural codec. On tensors of the device "meta", its functions run the plain layers of `module` in
    the calling thread, so that their operations can be counted."""

    module: Any
    """The nn.Module."""
    encode: Callable[[Any], Any]
    """Audio [B, T] to tokens [B, K, N]."""
    decode: Callable[[Any], Any]
    """Tokens [B, K, N], int64, to audio [B, T]."""
    latents: Callable[[Any], Any] | None = None
    """Audio [B, T] to the latents before quantization, [B, D, N]; None if the codec does not expose them."""
    batched: bool = False
    """Whether a batch is computed at once rather than item by item."""


@runtime_checkable
class Inspectable(Protocol):
    """A codec that exposes its network: `evalkit bench` counts operations, measures latents, and runs batches."""

    def network(self) -> Network:
        """The network, with its weights on their present device."""
        ...


@runtime_checkable
class DeclaresLookahead(Protocol):
    """A codec that declares its lookahead; `evalkit bench` compares it with the measured one."""

    lookahead: tuple[float, float]
    """Encoder: samples beyond a frame's end that its codes depend on. Decoder: samples before a frame's start that
    depend on its codes. inf for the whole utterance."""


@runtime_checkable
class StreamDecodable(Protocol):
    """A codec that decodes frame by frame as frames arrive."""

    def stream_decoder(self) -> Callable[[NDArray[np.int64]], Wave]:
        """A new stream: takes the next indices [K, n], returns the next samples."""
        ...


@runtime_checkable
class StreamEncodable(Protocol):
    """A codec that encodes frame by frame as samples arrive."""

    def stream_encoder(self) -> Callable[[Wave], NDArray[np.int64]]:
        """A new stream: takes the next samples, returns the indices [K, n], n >= 0, that have become final."""
        ...
