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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit import testing
from evalkit.audio import Wave
from evalkit.bench.directory import LEVELS, WHOLE
from evalkit.codecs import Codec, Codes, Inspectable

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
        """Milliseconds from a sample to the moment when all that its decoded counterpart depends on has come in."""
        encoder, decoder = self.encoder[level].ahead, self.decoder[level].ahead
        if encoder is None or decoder is None:
            return None
        return (self.frame + max(0.0, encoder) + max(0.0, decoder)) / self.sample_rate * 1000


class NoFrames(Exception):
    """There is nothing to measure; the text is the reason."""


def measure(codec: Codec, encoder: bool = True, seconds: float = SECONDS) -> Latency:
    """The latency of `codec`; without `encoder` of its decoder alone.

    Raises:
        NoFrames: the codec has none.
    """
    if codec.sample_rate is None or codec.frame_rate is None:
        raise NoFrames("it has no frames")
    frame = frame_length(codec)
    rate = codec.sample_rate / frame
    unknown = dict.fromkeys(LEVELS, Reach(why_ahead="not measured", why_back="not measured"))
    encoding = _growing(partial(_encoder, codec, frame), seconds, rate) if encoder else unknown
    return Latency(frame, codec.sample_rate, encoding, _growing(partial(_decoder, codec, frame), seconds, rate))


def frame_length(codec: Codec) -> int:
    """Samples of a frame: how much more audio gives how many more frames."""
    assert codec.sample_rate is not None and codec.frame_rate is not None
    guess = round(codec.sample_rate / codec.frame_rate)
    few, many = (len(columns(codec.encode(np.zeros(n * guess, np.float32)))) for n in (4, 12))
    if many - few < 2:
        raise NoFrames("its payload is not cut into frames")
    return 8 * guess // (many - few)


def columns(codes: Codes) -> Any:
    """What carries each frame: [N, K] indices, or N packets."""
    return list(codes.payload) if codes.indices is None else codes.indices.T


def _growing(way: Callable[[int], dict[str, Reach]], seconds: float, rate: float) -> dict[str, Reach]:
    """Measure with ever longer audio until what was found no longer grows with it."""
    while True:
        found = way(round(seconds * rate))
        cut = any(WHOLE in (reach.why_ahead, reach.why_back) for reach in found.values())
        if not cut or 2 * seconds > LONGEST:
            return found
        seconds *= 2


# --- encoder ----------------------------------------------------------------------------------------------------------


def _encoder(codec: Codec, frame: int, frames: int) -> dict[str, Reach]:
    assert codec.sample_rate is not None
    wav = testing.speech((frames * frame + 1) / codec.sample_rate, codec.sample_rate)[: frames * frame]
    found = {level: Reach(why_ahead="it shows no latents", why_back="it shows no latents") for level in LEVELS}
    if latents := _latents(codec):
        found |= _on_latents(latents, wav, frame)
    return found | {"0": _on_codes(codec, wav, frame)}


def _on_codes(codec: Codec, wav: Wave, frame: int) -> Reach:
    base = columns(codec.encode(wav))
    noise = np.random.default_rng(0).uniform(-1, 1, len(wav))
    others = [(noise * loud).astype(np.float32) for loud in LOUD]
    others += [np.full(len(wav), level, np.float32) for level in LOUDEST]

    def changed(other: Wave, ahead: bool, place: int) -> NDArray[np.bool_]:
        return _differ(base, columns(codec.encode(_probe(wav, other, place, ahead))))

    sides = [
        _search([partial(changed, other, ahead) for other in others], len(wav), frame, ahead) for ahead in (True, False)
    ]
    return _reach(*sides)


def _on_latents(latents: Callable[[Wave], NDArray[np.float32]], wav: Wave, frame: int) -> dict[str, Reach]:
    base = latents(wav)
    peak = np.abs(base).max()

    @cache
    def change(place: int, ahead: bool) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.abs(latents(_probe(wav, wav[::-1], place, ahead)) - base).max(0)
        return found

    def sides(share: float) -> Iterator[Side]:
        for ahead in (True, False):
            probe = partial(lambda ahead, place: change(place, ahead) > share * peak, ahead)
            yield _search([probe], len(wav), frame, ahead, frame // 16)

    return {level: _reach(*sides(share)) for level, share in LEVELS.items() if share}


def _latents(codec: Codec) -> Callable[[Wave], NDArray[np.float32]] | None:
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

    found = [(last, probe) for probe in probes if (last := touched(probe, start)) is not None]
    if found and found[0][1] is probes[0] and whole(found[0][0]):
        return None, WHOLE
    # Numbers beyond float32 leak through masks and norms: what only the loud probes see everywhere is not so.
    found = [(last, probe) for last, probe in found if not whole(last)]
    if not found:
        return None, "no probe changed any code"
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


def _reach(ahead: Side, back: Side) -> Reach:
    return Reach(ahead[0], back[0], ahead[1], back[1])


# --- decoder ----------------------------------------------------------------------------------------------------------


def _decoder(codec: Codec, frame: int, frames: int) -> dict[str, Reach]:
    draws = _draws(codec, frame, frames)
    base, again = (codec.decode(draws[0]) for _ in range(2))
    steady = np.array_equal(base, again)
    forward = dict.fromkeys(LEVELS, -np.inf)
    backward = dict(forward)
    for draw, other in enumerate(draws[1:]):
        late, early = 3 * frames // 4 - draw, frames // 4 + draw
        after = np.abs(codec.decode(_splice(draws[0], other, late)) - base)
        before = np.abs(codec.decode(_splice(other, draws[0], early)) - base)
        for level, share in LEVELS.items():
            threshold = share * np.abs(base).max()
            if len(where := np.flatnonzero(after > threshold)):
                forward[level] = max(forward[level], late * frame - int(where[0]))
            if len(where := np.flatnonzero(before > threshold)):
                backward[level] = max(backward[level], int(where[-1]) - early * frame + 1)
    found = {}
    for level in LEVELS:
        if not steady and level == "0":
            why = "the same codes give other audio the second time"
            found[level] = Reach(why_ahead=why, why_back=why)
            continue
        ahead, why_ahead = _bounded(forward[level], (3 * frames // 4 - DRAWS) * frame)
        back, why_back = _bounded(backward[level], (frames - frames // 4 - DRAWS) * frame)
        found[level] = Reach(ahead, back, why_ahead, why_back)
    return found


def _bounded(reach: float, available: int) -> tuple[float | None, str]:
    if reach == -np.inf:
        return None, "other codes changed no sample"
    return (None, WHOLE) if reach > SHARE * available else (float(reach), "")


def _draws(codec: Codec, frame: int, frames: int) -> list[Codes]:
    """Codes of `frames` frames that have nothing in common: random indices, or packets of unlike audio."""
    assert codec.sample_rate is not None
    rng = np.random.default_rng(0)
    length = frames * frame
    wav = testing.speech((length + 1) / codec.sample_rate, codec.sample_rate)[:length]
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
