"""X-Codec2 and NeuCodec by the real loading code, from random weights in the public format."""

from pathlib import Path

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


@pytest.mark.parametrize("name", list(FAMILIES))
def test_codes_and_audio_are_transformers_own(models, folders, name: str) -> None:
    """With the features of transformers' own extractor, which needs torchaudio."""
    codec = FAMILIES[name].build_from(folders[name], "0.8k")
    voice = testing.speech(1.01, codec.sample_rate)
    try:
        extractor = getattr(transformers, FAMILIES[name].kind.model.replace("Model", "FeatureExtractor"))()
    except ImportError:
        pytest.skip("its own feature extractor needs torchaudio")
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
