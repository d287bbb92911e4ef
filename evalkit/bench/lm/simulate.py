"""A speech LM with random weights generates codes, and the codec's own decoder makes audio of them: measured times.

The number of frames is fixed, since random weights do not know when to end. The codec decodes the whole in the end, as
the authors do, and as a stream: chunk by chunk where it streams, else by decoding, for each chunk, a window of all that
the chunk depends on. First audio comes when the frames of the first chunk are there, those that its decoder looks ahead
at, and those by which later codebooks lag.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np
from numpy.typing import NDArray

from evalkit.bench.lm.config import Cache, Heads, LanguageModel, Speech, TokenSpec
from evalkit.bench.timing import cpu_seconds, sample
from evalkit.codecs import Codec, Codes, StreamDecodable


@dataclass(frozen=True)
class Generated:
    """One utterance: seconds until the first frame, seconds of each further step, CPU seconds of all, the codes."""

    prefill: float
    steps: tuple[float, ...]
    cpu: float
    codes: NDArray[np.int64]

    @property
    def total(self) -> float:
        """Seconds of the whole utterance."""
        return self.prefill + sum(self.steps)

    def until(self, frame: int) -> float:
        """Seconds until `frame` frames are there, at the latest until the end."""
        return self.prefill + sum(self.steps[: max(0, frame - 1)])


def build(lm: LanguageModel, spec: TokenSpec, heads: Heads, device: str) -> Callable[[Speech, Cache], Generated]:
    """A model for the codec, with random weights.

    Args:
        lm: Its sizes.
        spec: The codec's codebooks and frame rate.
        heads: How the codebooks of a frame are predicted.
        device: A device of torch.

    Returns:
        A function that generates an utterance and times it.
    """
    import torch

    from evalkit.bench.lm.model import SpeechModel

    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        model = SpeechModel(lm, spec, heads).eval()
    wait: Callable[[], object] = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    sizes = np.array(spec.codebook_sizes)[:, None]

    @torch.inference_mode()
    def generate(speech: Speech, cache: Cache) -> Generated:
        count = speech.frames(spec) + (lm.delay if heads == "delay" else 0)
        used, start = cpu_seconds(), time.perf_counter()
        generation = model.start(speech, cache)
        wait()
        prefill, steps, said = time.perf_counter() - start, [], [generation.frame]
        for _ in range(count - 1):
            start = time.perf_counter()
            generation.step()
            wait()
            steps.append(time.perf_counter() - start)
            said.append(generation.frame)
        used = cpu_seconds() - used
        codes = torch.stack([torch.cat(frame) for frame in said], 1).cpu().numpy()
        return Generated(prefill, tuple(steps), used, codes[:, : speech.frames(spec)] % sizes)

    return generate


class ChunkedDecoder:
    """A codec's decoder, for all codes at once or in chunks. `ahead` and `back` are the samples that it sees after and
    before those that it gives out; None where that is the whole utterance."""

    def __init__(self, codec: Codec, frame: int, ahead: float | None, back: float | None) -> None:
        self._codec, self._frame = codec, frame
        self._back = None if back is None else ceil(max(0.0, back) / frame)
        self._streams = codec if isinstance(codec, StreamDecodable) and ahead is not None and ahead <= 0 else None

    def whole(self, codes: NDArray[np.int64]) -> float:
        """Seconds to decode `codes` at once."""
        given = Codes(codes.shape[1] * self._frame, codes, self._codec.codebook_sizes)
        return sample(partial(self._codec.decode, given)).wall

    def first(self, codes: NDArray[np.int64], frames: int, ahead: int) -> float:
        """Time until the first chunk is decoded.

        Args:
            codes: [K, N].
            frames: Of the chunk.
            ahead: Frames that it needs after those.

        Returns:
            Seconds.
        """
        if self._streams is None:
            return self.whole(codes[:, : frames + ahead])
        return sample(partial(self._streams.stream_decoder(), codes[:, :frames])).wall

    def stream(self, codes: NDArray[np.int64], frames: int, ahead: int) -> float | None:
        """Time to decode everything in chunks.

        Args:
            codes: [K, N].
            frames: Of a chunk.
            ahead: Frames that a chunk needs after those.

        Returns:
            Seconds; None where a chunk depends on everything.
        """
        count = codes.shape[1]
        if self._streams is not None:
            push = self._streams.stream_decoder()
            return sum(
                sample(partial(push, codes[:, start : start + frames])).wall for start in range(0, count, frames)
            )
        if self._back is None:
            return None
        return self.whole(codes[:, : self._back + frames + ahead]) * ceil(count / frames)
