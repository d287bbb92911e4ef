"""X-Codec and the tokenizer of Higgs by the real loading code, from seeded weights in the public format."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import higgs, xcodec
from evalkit.baselines.testing import higgs as narrow_higgs
from evalkit.baselines.testing import write
from evalkit.errors import MissingError
from evalkit.pipeline.choice import choose

transformers = pytest.importorskip("transformers", reason="X-Codec and Higgs need transformers")
SPECS = ("xcodec@0.5k-hubert-ls", "xcodec@2k-wavlm-more", "higgs@0.5k", "higgs@2k")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Seeded weights by spec."""
    root = tmp_path_factory.mktemp("xcodec")
    rates = {"hubert": ("xcodec", "2k-hubert-ls"), "wavlm": ("xcodec", "2k-wavlm-more"), "higgs": ("higgs", "2k")}
    made = {name: write(*which, root / name) for name, which in rates.items()}
    return dict(zip(SPECS, (made["hubert"], made["wavlm"], made["higgs"], made["higgs"]), strict=True))


def build(spec: str, folders: dict[str, Path]):
    choice = choose(spec)
    return choice.family.build_from(folders[spec], choice.rate, "cpu")


@pytest.mark.parametrize("spec", SPECS)
def test_they_keep_the_protocol(spec: str, folders) -> None:
    codec, choice = build(spec, folders), choose(spec)
    testing.check_codec(codec, choice.bitrate, tolerance=0.01)
    card = choice.family.info(choice.rate)
    built = (codec.sample_rate, codec.frame_rate, codec.codebook_sizes, codec.streaming)
    assert built == (card.sample_rate, card.frame_rate, card.codebook_sizes, card.causal)


@pytest.mark.parametrize("spec", SPECS[:2])
def test_xcodec_is_transformers_own(spec: str, folders) -> None:
    codec, voice = build(spec, folders), testing.speech(1.01, 16_000)
    model = transformers.XcodecModel.from_pretrained(folders[spec]).eval()
    codes = codec.encode(voice)
    with torch.inference_mode():
        direct = model.encode(torch.from_numpy(voice)[None, None], bandwidth=choose(spec).bitrate / 1000).audio_codes
        audio = model.decode(direct).audio_values[0, 0].numpy()
    assert np.array_equal(codes.indices, direct[0].numpy()) and codes.indices.shape[1] == (len(voice) + 240) // 320
    assert len(np.unique(codes.indices)) > 10 and np.array_equal(codec.decode(codes), audio[: len(voice)])


def test_higgs_is_transformers_own_without_torchaudio(folders, check_every_weight_counts) -> None:
    check_every_weight_counts(build("higgs@2k", folders), "higgs.npz", "higgs", unused=("decoder_semantic", "fc1"))


@pytest.mark.parametrize(
    ("length", "frames", "higgs_frames"), [(1, 1, 1), (79, 1, 1), (399, 1, 1), (400, 2, 1), (1078, 4, 1), (1079, 4, 2)]
)
def test_frames(folders, length: int, frames: int, higgs_frames: int) -> None:
    for spec, expected in (("xcodec@0.5k-hubert-ls", frames), ("higgs@0.5k", higgs_frames)):
        codec = build(spec, folders)
        codes = codec.encode(testing.speech(0.1, codec.sample_rate)[:length])
        assert codes.indices.shape[1] == expected and len(codec.decode(codes)) == length


def test_cards_count_the_published_models() -> None:
    with torch.device("meta"):
        for speech, count in xcodec.PARAMETERS.items():
            config = transformers.XcodecConfig(semantic_model_config={"model_type": speech})
            assert config.codebook_dim == xcodec.DIMENSION
            assert used(transformers.XcodecModel(config)) == count
        from evalkit.baselines.higgs_model import Higgs

        assert used(Higgs(narrow_higgs.config(published=True))) == higgs.PARAMETERS


def used(model) -> int:
    """Parameters without those that serve training only."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith(("decoder_semantic.", "fc1.")))


def test_rates() -> None:
    listed = [rate for rate in xcodec.FAMILY.rates if xcodec.FAMILY.info(rate).listed]
    assert len(xcodec.FAMILY.rates) == 25 and 0 < len(listed) < 25
    assert (xcodec.FAMILY.rates["4k-general"], xcodec.FAMILY.rates["0.5k-wavlm-mls"]) == (4000, 500)
    assert choose("xcodec@2k").spec == "xcodec@2k-hubert-ls" and list(higgs.FAMILY.rates) == [
        "0.5k",
        "1k",
        "1.5k",
        "2k",
    ]


def test_other_models_are_refused(folders, tmp_path) -> None:
    with pytest.raises(MissingError, match=r"8 codebooks of 1024 and wavlm; .* and hubert"):
        xcodec.FAMILY.build_from(folders["xcodec@0.5k-hubert-ls"], "1k-wavlm-mls")
    with pytest.raises(MissingError, match="a model of type 'xcodec', not 'higgs_audio_v2_tokenizer'"):
        higgs.FAMILY.build_from(folders["xcodec@0.5k-hubert-ls"], "1k")
    from safetensors.torch import load_file, save_file

    tensors = load_file(folders["higgs@2k"] / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folders["higgs@2k"] / "config.json").read_bytes())
    del tensors["quantizer.quantizers.3.project_out.bias"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MissingError, match=r"are not those of a Higgs: missing.*quantizers\.3\.project_out\.bias"):
        higgs.FAMILY.build_from(tmp_path, "2k")
