"""X-Codec2 and NeuCodec by the real loading code, from random weights in the public format."""

import sys
from collections.abc import Callable, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import xcodec2
from evalkit.baselines.testing import xcodec2 as narrow
from evalkit.codecs import decoded_shape
from evalkit.errors import MissingError
from evalkit.pipeline.choice import choose

transformers = pytest.importorskip("transformers", reason="X-Codec2 and NeuCodec need transformers")

FAMILIES = {family.name: family for family in (xcodec2.XCODEC2, xcodec2.NEUCODEC)}


@pytest.fixture(scope="module")
def models():
    return {name: narrow.model(family.kind.model.removesuffix("Model")) for name, family in FAMILIES.items()}


@pytest.fixture(scope="module")
def folders(models, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("xcodec2")
    for name, model in models.items():
        model.save_pretrained(root / name)
    return {name: root / name for name in models}


@pytest.mark.parametrize("name", list(FAMILIES))
def test_they_keep_the_protocol(folders, name: str) -> None:
    codec, card = FAMILIES[name].build_from(folders[name], "0.8k"), FAMILIES[name].info("0.8k")
    testing.check_codec(codec, choose(name).bitrate, tolerance=0.01, info=card)
    assert (card.sample_rate, card.output_rate) == (16_000, {"xcodec2": None, "neucodec": 24_000}[name])


def fbank(waveform: torch.Tensor, **_options: object) -> torch.Tensor:
    """Kaldi's log mel energies [frames, 80] of `waveform` [1, T], for `torchaudio.compliance.kaldi.fbank` as the
    extractors call it: windows of 25 ms every 10 ms, 20 Hz to 8 kHz (compute-fbank-feats of Kaldi, in float64)."""
    frames = waveform[0].double().unfold(-1, 400, 160)
    frames = frames - frames.mean(-1, keepdim=True)
    frames = frames - 0.97 * torch.cat([frames[:, :1], frames[:, :-1]], -1)
    frames = frames * torch.hann_window(400, periodic=False, dtype=torch.float64) ** 0.85
    power = torch.fft.rfft(frames, 512).abs() ** 2
    at = 1127 * torch.log1p(torch.arange(257, dtype=torch.float64) * 16_000 / 512 / 700)
    edges = torch.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(8_000 / 700), 82, dtype=torch.float64)
    rising = (at[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at[:, None]) / (edges[2:] - edges[1:-1])
    energies = power @ torch.minimum(rising, falling).clamp(min=0)
    return energies.clamp(min=torch.finfo(torch.float32).eps).log().float()


def own_extractor(kind: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Mapping[str, torch.Tensor]]:
    """transformers' own feature extractor, which needs torchaudio for `fbank` alone."""
    torchaudio = ModuleType("torchaudio")
    torchaudio.compliance = SimpleNamespace(kaldi=SimpleNamespace(fbank=fbank))
    monkeypatch.setitem(sys.modules, "torchaudio", torchaudio)
    checks = transformers.utils.import_utils
    monkeypatch.setattr(checks, "is_torchaudio_available", lambda: True)
    monkeypatch.setitem(checks.BACKENDS_MAPPING, "torchaudio", (lambda: True, ""))
    file = Path(transformers.__file__).parent / "models" / kind / f"feature_extraction_{kind}.py"
    spec = spec_from_file_location(f"transformers.models.{kind}.published", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, FAMILIES[kind].kind.model.replace("Model", "FeatureExtractor"))()


def test_fbank_is_that_of_torchaudio() -> None:
    """Numbers of torchaudio 2.11.0, which computes in float32."""
    found = fbank(torch.from_numpy(testing.speech(1.01, 16_000))[None] * 2**15)
    expected = [[13.7233, 7.6557, 7.1776], [12.5324, 13.0967, 14.5813], [13.4500, 16.9451, 11.4733]]
    assert found.shape == (99, 80)
    assert found[[0, 40, 98]][:, [0, 20, 79]].numpy() == pytest.approx(np.array(expected), abs=1e-3)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_codes_and_audio_are_transformers_own(models, folders, name: str, monkeypatch) -> None:
    """With the features of transformers' own extractor."""
    codec = FAMILIES[name].build_from(folders[name], "0.8k")
    voice = testing.speech(1.01, codec.sample_rate)
    extractor = own_extractor(name, monkeypatch)
    inputs = extractor(voice, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        direct = models[name].encode(**inputs).audio_codes
        audio = models[name].decode(direct).audio_values[0, 0].numpy()
    codes = codec.encode(voice)
    assert np.array_equal(codes.indices, direct[0].numpy()) and len(np.unique(codes.indices)) > 10
    decoded = codec.decode(codes)
    end = min(len(audio), len(decoded))
    assert len(decoded) == decoded_shape(codec, len(voice), 16_000)[0] and np.array_equal(decoded[:end], audio[:end])


@pytest.mark.parametrize(
    ("length", "xcodec", "neucodec"), [(1, 1, 1), (319, 1, 1), (320, 2, 1), (639, 2, 1), (640, 3, 2), (641, 3, 2)]
)
def test_frames(folders, length: int, xcodec: int, neucodec: int) -> None:
    for name, frames in (("xcodec2", xcodec), ("neucodec", neucodec)):
        codec = FAMILIES[name].build_from(folders[name], "0.8k")
        codes = codec.encode(testing.speech(0.1, codec.sample_rate)[:length])
        samples = length if name == "xcodec2" else -(-length * 3 // 2)
        assert codes.indices.shape == (1, frames) and len(codec.decode(codes)) == samples


def test_cards_count_the_published_models() -> None:
    for family in FAMILIES.values():
        with torch.device("meta"):
            model = getattr(transformers, family.kind.model)(
                getattr(transformers, family.kind.model.replace("Model", "Config"))()
            )
        assert sum(p.numel() for p in model.parameters()) == family.kind.parameters


def test_other_models_are_refused(folders) -> None:
    with pytest.raises(MissingError, match="a model of type 'neucodec', not 'xcodec2'"):
        xcodec2.XCODEC2.build_from(folders["neucodec"], "0.8k")
