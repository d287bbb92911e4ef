"""DualCodec (Li et al., 2025, arXiv 2505.13000): 24 kHz, 12.5 or 25 frames/s, one codebook of 16384 and further ones.

This project's own implementation (dualcodec_model.py) reads the released files. The first codebook codes the features
of the speech model w2v-BERT 2.0 (transformers) at 16 kHz. They depend on the whole utterance, including the silence
around it, so utterances are processed one at a time. Upstream computes them (and, by default, everything) in half
precision; here everything is in float32, so single tokens differ from upstream's. The rate's label depends on how many
codebooks are used; the first alone does not carry loudness, because the features are normalised.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, PADDING, Codec, CodecInfo
from evalkit.environment import extras
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, NetworkCodec, draw, spread
from .tensors import assemble, read
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 24_000
SPEECH_RATE = 16_000
SEMANTIC = 16_384
LAYERS = 17
"""Of the speech model, whose output is taken; the others are not computed."""
SPEECH = "w2v-bert-2.0"
ARITHMETIC = "float32, where upstream has float16"
STATISTICS = "w2vbert2_mean_var_stats_emilia.pt"
TENSORS = {"12hz": "dualcodec_12hz_16384_4096.safetensors", "25hz": "dualcodec_25hz_16384_1024.safetensors"}
HOPS = {"12hz": 1920, "25hz": 960}
CODEBOOKS = {"12hz": (8, 4096), "25hz": (12, 1024)}
"""How many there are, the first one among them, and the entries of the others."""
LEAST = {"12hz": 2040, "25hz": 1080}
"""Samples without which the speech model has not the frames of one token."""
SIZES = {"12hz": 336_000_000, "25hz": 409_000_000}
RELEASES = {
    model: Release("amphion/dualcodec", (TENSORS[model], STATISTICS), "Apache-2.0", size=SIZES[model])
    for model in TENSORS
}
SPEECH_RELEASE = Release("facebook/w2v-bert-2.0", pretrained.FILES, "MIT", size=2_322_000_000)
PARAMETERS = {"12hz": 83_982_353, "25hz": 102_256_129}
"""All codebooks among them."""
SPEECH_PARAMETERS = 411_231_104
"""Of the layers that are computed."""
PER_CODEBOOK = {"12hz": 50_184, "25hz": 25_608}
"""Parameters of one codebook after the first, with its linear layers."""


def _label(model: str, count: int) -> str:
    entries = CODEBOOKS[model][1]
    bits = 14 + (count - 1) * (entries.bit_length() - 1)
    return f"{bits * SAMPLE_RATE / HOPS[model] / 1000:g}k-{model}"


VARIANTS = {_label(model, n): (model, n) for model, (most, _) in CODEBOOKS.items() for n in range(1, most + 1)}
LISTED = ("0.175k-12hz", "0.625k-12hz", "1.225k-12hz", "0.35k-25hz", "1.1k-25hz", "3.1k-25hz")
"""Rates that `evalkit list codecs` shows."""


class DualCodecCodec(NetworkCodec):
    """A `DualCodec` and its speech model. N is that of the speech model's frames: up to 85 ms at the end come back as
    silence."""

    residual = True

    def __init__(self, mean: Any, deviation: Any, extractor: Any, *common: Any) -> None:
        super().__init__(*common)
        self._mean, self._deviation = mean.to(self._device), deviation.to(self._device)
        self._extractor = extractor

    def tokens(self, audio: "Tensor") -> "Tensor":
        from torch.nn.functional import pad

        from .resampling import resample

        shape = self._model["codec"].shape
        least = next(LEAST[model] for model, hop in HOPS.items() if hop == shape.hop)
        audio = pad(audio, (0, max(0, least - len(audio))))
        wav = resample(audio[None], SAMPLE_RATE, SPEECH_RATE)[0].cpu().numpy()
        inputs = self._extractor(wav, sampling_rate=SPEECH_RATE, return_tensors="pt").to(self._device)
        features = self._model["speech"](**inputs, output_hidden_states=True).hidden_states[LAYERS]
        whole = pad(audio, (0, -len(audio) % shape.hop))
        normalised = (features - self._mean) / self._deviation
        return self._model["codec"].encode(whole[None], normalised, len(self.codebook_sizes))[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model["codec"].decode(tokens[None])[0]


class DualCodecFamily(ReleasedFamily):
    """The two released models, each with 1 to all of its codebooks."""

    name = "dualcodec"
    rates: Mapping[str, float] = {label: float(label.partition("k")[0]) * 1000 for label in VARIANTS}
    default_rate = "1.225k-12hz"
    license = "Apache-2.0 (this implementation, transformers, and the weights); MIT (w2v-BERT 2.0)"
    package = "transformers"

    def release(self, rate: str) -> Release:
        """The weights of the model that `rate` names; no revision is pinned yet."""
        return RELEASES[VARIANTS[rate][0]]

    def inside(self, rate: str) -> Mapping[str, Release]:
        """The speech model."""
        return {SPEECH: SPEECH_RELEASE}

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model and its codebooks at `rate`."""
        model, count = VARIANTS[rate]
        most, entries = CODEBOOKS[model]
        parameters = PARAMETERS[model] - (most - count) * PER_CODEBOOK[model] + SPEECH_PARAMETERS
        return CodecInfo(
            SAMPLE_RATE, SAMPLE_RATE / HOPS[model], (SEMANTIC,) + (entries,) * (count - 1), parameters, "Apache-2.0",
            "Apache-2.0, MIT", str(RELEASES[model]), causal=False, listed=rate in LISTED,
            depends_on=(PADDING, LEVEL) if count > 1 else (PADDING,),
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec with the two files of its release in the folder `weights`; the speech model lies in `w2v-bert-2.0`
        below it, or in the hub's cache.

        Raises:
            MissingError: they are not there, are damaged, or hold another model.
        """
        spec, (model, _) = self.spec(rate), VARIANTS[rate]
        tensors, statistics = locate(weights, RELEASES[model].files, spec)
        folder = self.folder_inside(SPEECH, weights, rate)
        files = locate(folder, pretrained.FILES, spec)
        codec = load(tensors, model, spec)
        speech = pretrained.load("Wav2Vec2BertModel", "wav2vec2-bert", folder, "cpu", spec)
        del speech.encoder.layers[LAYERS:]
        import torch

        stats = read(statistics, spec)
        extractor = extras.load_transformers().SeamlessM4TFeatureExtractor()
        both = torch.nn.ModuleDict({"codec": codec, "speech": speech}).to(device)
        about = details([tensors, statistics, *files], "transformers") | {"arithmetic": ARITHMETIC}
        try:
            numbers = stats["mean"].float(), stats["var"].float().sqrt()
        except (KeyError, TypeError, AttributeError) as error:
            raise MissingError(f"{spec}: {statistics} holds no mean and variance ({error!r})") from error
        return DualCodecCodec(*numbers, extractor, spec, both, self.info(rate), about)

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """Both models in their published widths, with random weights."""
        import torch

        from .dualcodec_model import PUBLISHED, DualCodec

        transformers, shape = extras.load_transformers(), PUBLISHED[VARIANTS[rate][0]]
        config = transformers.Wav2Vec2BertConfig(num_hidden_layers=LAYERS)

        def make() -> Any:
            parts = {"codec": DualCodec(shape), "speech": transformers.Wav2Vec2BertModel(config)}
            return spread(torch.nn.ModuleDict(parts))

        extractor, numbers = transformers.SeamlessM4TFeatureExtractor(), (torch.zeros(()), torch.ones(()))
        return DualCodecCodec(*numbers, extractor, self.spec(rate), draw(make, device), self.info(rate), RANDOM)


def load(path: Path, model: str, spec: str) -> Any:
    """A released model with the tensors of a file.

    Args:
        path: The file.
        model: Which of the released ones.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The file does not hold them.
    """
    from .dualcodec_model import DualCodec, Shape

    codec = assemble(DualCodec, Shape.of, plain(read(path, spec)), [path], spec)
    found = codec.shape
    if (found.hop, found.codebooks + 1, found.entries, found.semantic) != (HOPS[model], *CODEBOOKS[model], SEMANTIC):
        raise MissingError(
            f"{spec} has hop {HOPS[model]} and {CODEBOOKS[model][0]} codebooks of {CODEBOOKS[model][1]}, {path} hop "
            f"{found.hop} and {found.codebooks + 1} codebooks of {found.entries}"
        )
    return codec


def plain(state: Mapping[str, "Tensor"]) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors under this project's names, with weight normalisation folded."""
    from nanocodec.layers import fold_tensors

    for name, tensor in fold_tensors(state).items():
        yield name.replace("dac.encoder.block.", "dac.encoder.").replace("dac.decoder.model.", "dac.decoder."), tensor


FAMILY = DualCodecFamily()
