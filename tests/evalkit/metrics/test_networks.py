"""The networks behind metrics beside upstream's own classes.

The golden files were written by tests/oracle/metrics.py from the classes of torchaudio 2.11.0 (SQUIM), speechbrain
1.1.2 (ECAPA-TDNN), tarepan/SpeechMOS@ed25eac (UTMOS), microsoft/UniSpeech@40d3227 and s3prl (WavLM speaker
verification), sarulab-speech/UTMOSv2@cc2700d with timm 1.0.31 (UTMOSv2, all of `predict`): small networks of the
published layout with random weights, an input, and what they made of it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evalkit.errors import MissingError
from evalkit.metrics.base import Pair
from evalkit.metrics.networks import ecapa_tdnn, efficientnet, squim, states, utmos, utmosv2, wav2vec2, wavlm_sv
from evalkit.metrics.utmosv2 import UTMOSV2_FOLD0, Utmosv2Model

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-6


def golden(name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """State dict, input and output of one golden file."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        found = {key: torch.from_numpy(file[key]) for key in file.files}
    return states.below(found, "state."), found["wav"], found["output"]


def subjective(state: dict[str, Tensor], wav: Tensor) -> Tensor:
    network = squim.Subjective.of(state)
    features = network.features(wav)
    return 5 - network.difference(features[1:], features[:1])


def predicted(state: dict[str, Tensor], wav: Tensor) -> Tensor:
    scorer = Utmosv2Model(utmosv2.Utmosv2.of(state), "cpu")
    return torch.tensor([scorer.score(UTMOSV2_FOLD0, Pair(one, one))["utmosv2-fold0"] for one in wav.numpy()])


NETWORKS: dict[str, Callable[[dict[str, Tensor], Tensor], Tensor]] = {
    "squim_subjective": subjective,
    "squim_objective": lambda state, wav: squim.Objective.of(state)(wav),
    "ecapa_tdnn": lambda state, wav: ecapa_tdnn.EcapaTdnn.of(state)(wav),
    "utmos22_strong": lambda state, wav: utmos.Utmos.of(state)(wav),
    "wavlm_large_sv": lambda state, wav: wavlm_sv.WavlmSpeaker.of(state)(wav),
    "utmosv2_fold0": predicted,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_upstreams_own_class(name: str) -> None:
    state, wav, expected = golden(name)
    with torch.inference_mode():
        found = NETWORKS[name](state, wav)
    assert found.shape == expected.shape and len(expected.unique()) == expected.numel()
    assert (found - expected).abs().max() <= TOLERANCE * max(1, expected.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
def test_other_weights_are_refused_by_name(name: str) -> None:
    state, wav, _ = golden(name)
    for key in (next(iter(state)), list(state)[-1]):
        partial = {one: value for one, value in state.items() if one != key}
        with pytest.raises(MissingError, match="these weights are not those of"):
            NETWORKS[name](partial, wav)
    with pytest.raises(MissingError, match="these weights are not those of"):
        NETWORKS[name](state | {"one.more": torch.zeros(1)} if name != "wavlm_large_sv" else {}, wav)


def test_wav2vec2_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.Wav2Vec2Config(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(0)
    upstream = transformers.Wav2Vec2Model(config).eval()
    wav = 0.1 * torch.randn(2, 4_000)
    with torch.inference_mode():
        expected = upstream(wav).last_hidden_state
        found = wav2vec2.Wav2Vec2.of(upstream.state_dict())(wav)
    assert found.shape == expected.shape == (2, (4_000 - 400) // 320 + 1, 128)
    assert (found - expected).abs().max() < TOLERANCE


def test_fbank_is_louder_by_20_dB_for_ten_times_the_amplitude() -> None:
    wav = 0.01 * torch.randn(1, 8_000)
    assert (ecapa_tdnn.log_mel(10 * wav) - ecapa_tdnn.log_mel(wav) - 20).abs().max() < 1e-3
    silence = ecapa_tdnn.log_mel(torch.zeros(1, 8_000))
    assert silence.min() == silence.max() == pytest.approx(-100)


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": {"a": torch.zeros(2)}, "step": 3}, path)
    assert set(states.read_state(path, "model")) == {"a"}
    with pytest.raises(MissingError, match=r"weights\.pth cannot be read as weights: .*Delete it and fetch it again"):
        states.read_state(path, "other")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MissingError, match="cannot be read as weights"):
        states.read_state(path)


def test_utmosv2_draws_the_same_parts_of_a_recording_again() -> None:
    """As upstream does once numpy's state is seeded; here that state is left alone."""
    state, wav, expected = golden("utmosv2_fold0")
    np.random.seed(42)
    before = np.random.get_state()[1].copy()
    scorer = Utmosv2Model(utmosv2.Utmosv2.of(state), "cpu")
    one = Pair(wav[0].numpy(), wav[0].numpy())
    assert scorer.score(UTMOSV2_FOLD0, one)["utmosv2-fold0"] == pytest.approx(float(expected[0]), abs=1e-6)
    assert (np.random.get_state()[1] == before).all()
    with pytest.raises(MissingError, match=r"EfficientNetV2: .*conv_stem\.weight"):
        efficientnet.EfficientNetV2.of({"bn1.weight": torch.ones(3)})
