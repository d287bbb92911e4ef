"""Algorithmic latency of any codec, measured from outside: what goes in is changed from some place on, and the earliest
code or sample that changes tells how far the codec looks ahead; the same the other way round, how far back.

Encoder: lookahead is how many samples beyond a frame's own end its codes depend on. The far end of a receptive field
moves no code at natural levels, so the probes that follow speech are loud, up to 10^36 times full scale, and of either
sign, since rectifiers let one pass; and they are moved sample by sample within a frame, by bisection. At 0.1 % and 1 %
of the peak it is measured on the latents, at the level of speech, where the codec shows them: a code changes or does
not.

Decoder: lookahead is how many samples before a frame's start depend on its codes. Codes are drawn at random; the
largest of several draws counts. At 0 means in the codec's own arithmetic: what a receptive field adds beyond the last
digit of its numbers is not there.

A codec whose changes reach as far as there is audio, twice as long audio included, looks at the whole utterance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit import testing
from evalkit.audio import Wave
from evalkit.bench.directory import LEVELS, WHOLE
from evalkit.codecs import Codec, Codes, Inspectable, decoded_shape

LOUD = (1.0, 1e24)
"""Times full scale, of the noise that an encoder is probed with."""
LOUDEST = (1e36, -1e36)
"""Constants that it is probed with last: single samples at the far end of a receptive field arrive through them."""
SECONDS, LONGEST = 3.0, 12.0
"""Of audio, at first and at most."""
SHARE = 0.6
"""Of the audio there is, beyond which a change may have come from further away than it can be seen."""
DRAWS = 3
Side = tuple[float | None, str]
"""Samples, or the reason why there is no number."""
Latents = Callable[[Wave], NDArray[np.float32]]
"""What a codec quantizes of a recording, [D, N]."""


@dataclass(frozen=True)
class Reach:
    """How far one way through a codec sees, in samples; or why that is not known."""

    ahead: float | None = None
    back: float | None = None
    why_ahead: str = ""
    why_back: str = ""


@dataclass(frozen=True)
class Latency:
    """What was measured of a codec, by level; `frame` in samples."""

    frame: int
    sample_rate: int
    encoder: Mapping[str, Reach]
    decoder: Mapping[str, Reach]

    def algorithmic(self, level: str) -> float | None:
        """Milliseconds from a sample to the moment when all that its decoded counterpart depends on has come in.

        Args:
            level: A key of LEVELS.

        Returns:
            Milliseconds; None where either way looks at the whole utterance, or was not measured.
        """
        encoder, decoder = self.encoder[level].ahead, self.decoder[level].ahead
        if encoder is None or decoder is None:
            return None
        return (self.frame + max(0.0, encoder) + max(0.0, decoder)) / self.sample_rate * 1000


class NoFrames(Exception):
    """There is nothing to measure; the text is the reason."""


def measure(
    codec: Codec, encoder: bool = True, seconds: float = SECONDS, say: Callable[[str], None] = lambda text: None
) -> Latency:
    """The algorithmic latency of a codec.

    Args:
        codec: One with frames.
        encoder: Whether the encoder is measured as well as the decoder.
        seconds: Of audio, at first; it grows up to LONGEST.
        say: Is told what is under way: minutes pass where a large codec runs on a processor.

    Returns:
        Lookahead and reach in samples, by level.

    Raises:
        NoFrames: The codec has none.
    """
    if codec.sample_rate is None or codec.frame_rate is None:
        raise NoFrames("it has no frames")
    frame = frame_length(codec)
    grow = partial(_growing, first=seconds, rate=codec.sample_rate / frame)
    encoding = dict.fromkeys(LEVELS, Reach(why_ahead="not measured", why_back="not measured"))
    if encoder:
        say("encoder")
        encoding = _encoder(codec, frame, grow)
    say("decoder")
    return Latency(frame, codec.sample_rate, encoding, _decoder(codec, frame, grow))


def frame_length(codec: Codec) -> int:
    """Samples of a frame: how much more audio gives how many more frames.

    Args:
        codec: One with frames.

    Returns:
        Samples at the codec's rate.

    Raises:
        NoFrames: The payload does not grow with the audio.
    """
    assert codec.sample_rate is not None and codec.frame_rate is not None
    guess = round(codec.sample_rate / codec.frame_rate)
    few, many = (len(columns(codec.encode(np.zeros(n * guess, np.float32)))) for n in (4, 12))
    if many - few < 2:
        raise NoFrames("its payload is not divided into frames")
    return 8 * guess // (many - few)


def columns(codes: Codes) -> Any:
    """What carries each frame: [N, K] indices, or N packets."""
    return list(codes.payload) if codes.indices is None else codes.indices.T


Sides = Mapping[str, Side]
"""How far one way through a codec sees to one side, by level."""
Grow = Callable[[Callable[[int], Sides]], Sides]


def _growing(way: Callable[[int], Sides], first: float, rate: float) -> Sides:
    """What `way` finds in so many frames, in ever longer audio until it no longer reaches as far as there is any."""
    seconds = first
    while True:
        found = way(round(seconds * rate))
        if 2 * seconds > LONGEST or all(why != WHOLE for _, why in found.values()):
            return found
        seconds *= 2


def _reaches(ahead: Sides, back: Sides) -> dict[str, Reach]:
    return {level: Reach(ahead[level][0], back[level][0], ahead[level][1], back[level][1]) for level in ahead}


# --- encoder ----------------------------------------------------------------------------------------------------------


def _encoder(codec: Codec, frame: int, grow: Grow) -> dict[str, Reach]:
    found = {level: Reach(why_ahead="it exposes no latents", why_back="it exposes no latents") for level in LEVELS}
    if latents := _latents(codec):
        found |= _reaches(*(grow(partial(_on_latents, codec, latents, frame, ahead)) for ahead in (True, False)))
    return found | _reaches(*(grow(partial(_on_codes, codec, frame, ahead)) for ahead in (True, False)))


def _on_codes(codec: Codec, frame: int, ahead: bool, frames: int) -> Sides:
    wav = _speech(codec, frames * frame)
    base = columns(codec.encode(wav))
    noise = np.random.default_rng(0).uniform(-1, 1, len(wav))
    others = [(noise * loud).astype(np.float32) for loud in LOUD]
    others += [np.full(len(wav), level, np.float32) for level in LOUDEST]

    def changed(other: Wave, place: int) -> NDArray[np.bool_]:
        return _differ(base, columns(codec.encode(_probe(wav, other, place, ahead))))

    return {"0": _search([partial(changed, other) for other in others], len(wav), frame, ahead)}


def _on_latents(codec: Codec, latents: Latents, frame: int, ahead: bool, frames: int) -> Sides:
    wav = _speech(codec, frames * frame)
    base = latents(wav)
    peak = np.abs(base).max()

    @cache
    def change(place: int) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.abs(latents(_probe(wav, wav[::-1], place, ahead)) - base).max(0)
        return found

    def side(share: float) -> Side:
        return _search([lambda place: change(place) > share * peak], len(wav), frame, ahead, frame // 16)

    return {level: side(share) for level, share in LEVELS.items() if share}


def _speech(codec: Codec, samples: int) -> Wave:
    assert codec.sample_rate is not None
    return testing.speech((samples + 1) / codec.sample_rate, codec.sample_rate)[:samples]


def _latents(codec: Codec) -> Latents | None:
    """Latents [D, N] of a recording, where the codec shows them."""
    network = codec.network() if isinstance(codec, Inspectable) else None
    if network is None or network.latents is None:
        return None
    import torch

    show, device = network.latents, next(network.module.parameters()).device

    @torch.inference_mode()
    def run(wav: Wave) -> NDArray[np.float32]:
        found: NDArray[np.float32] = show(torch.from_numpy(wav).to(device)[None])[0].float().cpu().numpy()
        return found

    return run


def _probe(wav: Wave, other: Wave, place: int, ahead: bool) -> Wave:
    """`wav` with the samples of `other` from `place` on, or before it."""
    return np.concatenate([wav[:place], other[place:]] if ahead else [other[:place], wav[place:]])


def _differ(a: Any, b: Any) -> NDArray[np.bool_]:
    """Which frames differ."""
    return np.array([not np.array_equal(x, y) for x, y in zip(a, b, strict=True)])


Probe = Callable[[int], NDArray[np.bool_]]
"""Which frames a change touches that begins (or ends) at a sample."""


def _search(probes: Sequence[Probe], length: int, frame: int, ahead: bool, step: int = 1) -> Side:
    """By how many samples a change reaches past the frame that it last touches, before the place where the change
    begins (or behind the place where it ends). The first of `probes` is the mildest; those that reach furthest are
    moved, within a frame, to the last place from which any of them does, to within `step` samples."""
    start = (3 * length // 4 if ahead else length // 4) // frame * frame
    available = start if ahead else length - start
    edge = 0 if ahead else length // frame - 1

    def touched(probe: Probe, place: int) -> int | None:
        try:
            where = np.flatnonzero(probe(place))
        except Exception:  # a codec may refuse what is beyond full scale: the other probes tell
            return None
        return None if not len(where) else int(where[0] if ahead else where[-1])

    def reach(place: int, last: int) -> int:
        return place - (last + 1) * frame + 1 if ahead else last * frame - place + 1

    def whole(last: int) -> bool:
        return reach(start, last) > SHARE * available or (last <= edge if ahead else last >= edge)

    mild = touched(probes[0], start)
    if mild is not None and whole(mild):
        return None, WHOLE
    touches = [(mild, probes[0]), *((touched(probe, start), probe) for probe in probes[1:])]
    # Numbers beyond float32 leak through masks and norms: what only the loud probes see everywhere is not so.
    found = [(last, probe) for last, probe in touches if last is not None and not whole(last)]
    if not found:
        return None, "no perturbation changed any code"
    last = (min if ahead else max)(last for last, _ in found)
    furthest = [probe for where, probe in reversed(found) if where == last]
    near, far = start, start + (frame if ahead else -frame)
    while abs(far - near) > step:
        middle = (near + far) // 2
        if any(touched(probe, middle) == last for probe in furthest):
            near = middle
        else:
            far = middle
    return float(reach(near, last)), ""


# --- decoder ----------------------------------------------------------------------------------------------------------


def _decoder(codec: Codec, frame: int, grow: Grow) -> dict[str, Reach]:
    return _reaches(*(grow(partial(_on_samples, codec, frame, ahead)) for ahead in (True, False)))


def _on_samples(codec: Codec, frame: int, ahead: bool, frames: int) -> Sides:
    assert codec.sample_rate is not None
    input_samples = codec.sample_rate / decoded_shape(codec, 1, codec.sample_rate)[1]  # for one of the output
    draws = _draws(codec, frame, frames)
    base, again = (codec.decode(draws[0]) for _ in range(2))
    steady = np.array_equal(base, again)
    reach = dict.fromkeys(LEVELS, -np.inf)
    for draw, other in enumerate(draws[1:]):
        place = 3 * frames // 4 - draw if ahead else frames // 4 + draw
        spliced = _splice(draws[0], other, place) if ahead else _splice(other, draws[0], place)
        change = np.abs(codec.decode(spliced) - base)
        for level, share in LEVELS.items():
            if len(where := np.flatnonzero(change > share * np.abs(base).max())):
                first, last = int(where[0] * input_samples), ceil((where[-1] + 1) * input_samples)
                reach[level] = max(reach[level], place * frame - first if ahead else last - place * frame)
    available = ((3 * frames // 4 if ahead else frames - frames // 4) - DRAWS) * frame
    sides = {level: _bounded(reach[level], available) for level in LEVELS}
    return sides if steady else sides | {"0": (None, "the same codes give different audio the second time")}


def _bounded(reach: float, available: int) -> tuple[float | None, str]:
    if reach == -np.inf:
        return None, "other codes changed no sample"
    return (None, WHOLE) if reach > SHARE * available else (float(reach), "")


def _draws(codec: Codec, frame: int, frames: int) -> list[Codes]:
    """Codes of `frames` frames that have nothing in common: random indices, or packets of unlike audio."""
    rng = np.random.default_rng(0)
    length = frames * frame
    wav = _speech(codec, length)
    first = codec.encode(wav)
    if first.indices is None:
        noise = [rng.uniform(-0.5, 0.5, length).astype(np.float32) for _ in range(DRAWS - 1)]
        return [first, *(codec.encode(other) for other in (wav[::-1].copy(), *noise))]
    sizes: Sequence[int] = first.codebook_sizes
    shape = first.indices.shape[1]
    return [
        replace(first, indices=np.stack([rng.integers(0, size, shape) for size in sizes])) for _ in range(DRAWS + 1)
    ]


def _splice(head: Codes, tail: Codes, frame: int) -> Codes:
    """`head` up to `frame`, then `tail`."""
    if head.indices is None or tail.indices is None:
        return replace(head, payload=head.payload[:frame] + tail.payload[frame:])
    return replace(head, indices=np.concatenate([head.indices[:, :frame], tail.indices[:, frame:]], 1))
