"""The networks behind metrics beside upstream's own classes, with random weights; small ones become the tests' data.

    python tests/oracle/metrics.py UPSTREAM tests/evalkit/metrics/golden [NAME…]

UPSTREAM is a folder with checkouts of tarepan/SpeechMOS, microsoft/UniSpeech and s3prl/s3prl under those names;
torchaudio and speechbrain are imported. `utmosv2_fold0` runs only where it is named: it takes a checkout of
sarulab-speech/UTMOSv2@cc2700d there as well, and the packages timm, torchvision and librosa. Each network is compared
at its published size, then a small one of the same layout is made by the same upstream classes and saved: its state
dict, its input and its output. The tests read these.
"""

import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evalkit.environment.extras import absent, load_torchaudio
from evalkit.metrics.base import Pair
from evalkit.metrics.networks.ecapa_tdnn import EcapaTdnn
from evalkit.metrics.networks.squim import Objective, Subjective
from evalkit.metrics.networks.utmos import Utmos
from evalkit.metrics.networks.utmosv2 import Utmosv2
from evalkit.metrics.networks.wavlm_sv import WavlmSpeaker
from evalkit.metrics.utmosv2 import UTMOSV2_FOLD0, Utmosv2Model

TOLERANCE = 1e-6
"""Largest difference of outputs, relative to the largest of them where that is above 1."""


def settled(module: nn.Module) -> nn.Module:
    """`module` for inference, with random statistics in its batch norms and no parameter that is left at 0 or 1."""
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    for parameter in module.parameters():
        if parameter.ndim <= 1 or not parameter.any():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return module.eval()


def subjective(small: bool) -> tuple[nn.Module, Callable[[Any, Tensor], Tensor]]:
    torchaudio = load_torchaudio()
    from torchaudio.models.squim import subjective as upstream

    model = torchaudio.models.squim_subjective_base()
    if small:
        layers = [(8, k, s) for k, s in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True)]
        ssl = torchaudio.models.wav2vec2_model(
            "group_norm", layers, False, 64, 0.0, 16, 4, 2, 1, 0.0, 32, 0.0, 0.0, False, 0.0, None
        )
        model = upstream.SquimSubjective(ssl, nn.Linear(64, 6), upstream.Predictor(12, 5))
    return settled(model), lambda upstream, wav: upstream(wav[:1], wav[1:])


def objective(small: bool) -> tuple[nn.Module, Callable[[Any, Tensor], Tensor]]:
    torchaudio = load_torchaudio()
    from torchaudio.models.squim import objective as upstream

    model = torchaudio.models.squim_objective_base()
    if small:
        model = upstream.squim_objective_model(8, 64, 8, 4, 6, 2, "LSTM", 71)
    return settled(model), lambda upstream, wav: torch.stack(upstream(wav), dim=1)


def ecapa(small: bool) -> tuple[nn.Module, Callable[[Any, Tensor], Tensor]]:
    load_torchaudio()
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
    from speechbrain.processing.features import InputNormalization

    shape: dict[str, Any] = {"channels": [1024] * 4 + [3072], "attention_channels": 128, "lin_neurons": 192}
    if small:
        shape = {"channels": [16] * 4 + [24], "attention_channels": 8, "lin_neurons": 12, "se_channels": 8}
    features, centre = Fbank(n_mels=80).eval(), InputNormalization(norm_type="sentence", std_norm=False)

    def embed(upstream: Any, wav: Tensor) -> Tensor:
        whole = torch.ones(len(wav))
        return upstream(centre(features(wav), whole), whole)[:, 0]

    return settled(ECAPA_TDNN(80, **shape)), embed


def utmos(small: bool) -> tuple[nn.Module, Callable[[Any, Tensor], Tensor]]:
    load_torchaudio()
    from speechmos.utmos22 import fairseq_alt
    from speechmos.utmos22.strong.model import UTMOS22Strong

    model = UTMOS22Strong()
    if small:

        class Encoder(fairseq_alt.TransformerEncoder):
            def build_encoder_layer(self, feat: int) -> nn.Module:
                return fairseq_alt.TransformerSentenceEncoderLayer(feat, 32, 1, "gelu", 0.1, 0.1, 0.0, False)

        ssl = model.wav2vec2
        layers = [(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8, 2, 2)] * 2
        ssl.feature_extractor = fairseq_alt.ConvFeatureExtractionModel(layers)
        ssl.layer_norm, ssl.post_extract_proj = nn.LayerNorm(8), nn.Linear(8, 64)
        ssl.encoder, ssl.mask_emb = Encoder(64), nn.Parameter(torch.zeros(64))
        ssl.encoder.layers = ssl.encoder.layers[:2]
        model.domain_emb, model.judge_emb = (nn.Parameter(torch.zeros(1, 4)) for _ in range(2))
        model.blstm = nn.LSTM(72, 8, batch_first=True, bidirectional=True)
        model.projection = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
    nn.init.normal_(model.domain_emb)
    nn.init.normal_(model.judge_emb)
    nn.init.zeros_(model.wav2vec2.mask_emb)
    return settled(model), lambda upstream, wav: upstream(wav, 16_000)


def wavlm_sv(small: bool) -> tuple[nn.Module, Callable[[Any, Tensor], Tensor]]:
    load_torchaudio()
    for name in ("fairseq", "fairseq.tasks", "fairseq.checkpoint_utils", "fairseq.dataclass", "fairseq.dataclass.utils",
                 "omegaconf", "s3prl.upstream.interfaces"):  # fmt: skip
        module = sys.modules.setdefault(name, types.ModuleType(name))
        for needed in ("tasks", "load_checkpoint_to_cpu", "convert_namespace_to_omegaconf", "OmegaConf"):
            setattr(module, needed, None)
        module.UpstreamBase = object  # type: ignore[attr-defined]
    from models import ecapa_tdnn
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    config = WavLMConfig(
        {
            "extractor_mode": "layer_norm", "encoder_layers": 24, "encoder_embed_dim": 1024,
            "encoder_ffn_embed_dim": 4096, "encoder_attention_heads": 16, "layer_norm_first": True, "normalize": True,
            "relative_position_embedding": True, "num_buckets": 320, "max_distance": 800, "gru_rel_pos": True,
        }
        | ({
            "conv_feature_layers": "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2", "encoder_layers": 3,
            "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4, "conv_pos": 16,
            "conv_pos_groups": 4,
        } if small else {})
    )  # fmt: skip

    class Expert(nn.Module):
        """What s3prl's expert gives for one recording: the input of every layer, and the output of the last."""

        def __init__(self, path: str | None = None) -> None:
            super().__init__()
            self.model = WavLM(config)

        def forward(self, wavs: list[Tensor]) -> dict[str, list[Tensor]]:
            outputs: list[Tensor] = []
            for wav in wavs:
                seen: list[Tensor] = []
                hooks = [
                    layer.register_forward_hook(lambda _, given, out, seen=seen: seen.append(given[0].transpose(0, 1)))
                    for layer in self.model.encoder.layers
                ]
                hooks.append(
                    self.model.encoder.register_forward_hook(lambda _, given, out, seen=seen: seen.append(out[0]))
                )
                normal = torch.nn.functional.layer_norm(wav, wav.shape)[None]
                self.model.extract_features(
                    normal, padding_mask=torch.zeros(normal.shape, dtype=torch.bool), mask=False
                )
                for hook in hooks:
                    hook.remove()
                outputs.append(torch.stack(seen))
            return {"hidden_states": list(torch.cat(outputs, dim=1))}

    ecapa_tdnn.UpstreamExpert = Expert
    if small:
        model = ecapa_tdnn.ECAPA_TDNN(32, 16, 12, feat_type="wavlm_large", config_path="none")
        model.conv, model.pooling = nn.Conv1d(48, 24, 1), ecapa_tdnn.AttentiveStatsPool(24, 8)
        model.bn, model.linear = nn.BatchNorm1d(48), nn.Linear(48, 12)
    else:
        model = ecapa_tdnn.ECAPA_TDNN_SMALL(1024, feat_type="wavlm_large", config_path="none")
    return settled(model), lambda upstream, wav: upstream(wav)


def utmosv2(small: bool) -> tuple[nn.Module, Callable[[Any, Tensor], Tensor]]:
    """What upstream's `predict` gives, with the parts of the recording drawn from seed 0."""
    import timm
    import transformers

    config_class, model_class = transformers.Wav2Vec2Config, transformers.Wav2Vec2Model
    features = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    with absent("torchaudio"):  # upstream resamples with it what is not at 16 kHz
        import utmosv2
    from timm.models._efficientnet_builder import decode_arch_def
    from timm.models.efficientnet import EfficientNet
    from utmosv2.model import ssl as upstream_ssl

    def backbone(name: str, pretrained: bool, num_classes: int) -> nn.Module:
        if not small:
            return make(name, pretrained=False, num_classes=num_classes)
        stages = ["cn_r1_k3_s1_e1_c4_skip", "er_r2_k3_s2_e2_c6", "er_r1_k3_s2_e2_c6", "ir_r2_k3_s2_e2_c8_se0.25",
                  "ir_r2_k3_s1_e2_c8_se0.25", "ir_r2_k3_s2_e2_c12_se0.25"]  # fmt: skip
        return EfficientNet(
            decode_arch_def([[one] for one in stages]), num_classes, 16, stem_size=4, pad_type="same",
            act_layer=nn.SiLU, norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        )  # fmt: skip

    shape = {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 32,
        "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    }  # fmt: skip
    config = config_class(**shape) if small else config_class()
    make, timm.create_model = timm.create_model, backbone
    upstream_ssl.AutoModel = types.SimpleNamespace(from_pretrained=lambda name: model_class(config))
    upstream_ssl.AutoFeatureExtractor = types.SimpleNamespace(from_pretrained=lambda name: features)
    upstream_ssl.get_ssl_output_shape = lambda name: (config.num_hidden_layers + 1, config.hidden_size)
    model = utmosv2.create_model(pretrained=False, device="cpu")
    timm.create_model = make

    def predict(upstream: Any, wav: Tensor) -> Tensor:
        found = []
        for one in wav:
            np.random.seed(0)
            given = {"data": one, "device": "cpu", "num_workers": 0, "remove_silent_section": False, "verbose": False}
            found.append(upstream.predict(**given))
        return torch.cat(found)

    return settled(model), predict


def _scores(state: dict[str, Tensor], wav: Tensor) -> Tensor:
    scorer = Utmosv2Model(Utmosv2.of(state), "cpu")
    return torch.tensor([scorer.score(UTMOSV2_FOLD0, Pair(one, one))["utmosv2-fold0"] for one in wav.numpy()])


NETWORKS: dict[str, tuple[Callable[..., Any], Callable[[dict[str, Tensor], Tensor], Tensor]]] = {
    "squim_subjective": (subjective, lambda state, wav: _subjective(Subjective.of(state), wav)),
    "squim_objective": (objective, lambda state, wav: Objective.of(state)(wav)),
    "ecapa_tdnn": (ecapa, lambda state, wav: EcapaTdnn.of(state)(wav)),
    "utmos22_strong": (utmos, lambda state, wav: Utmos.of(state)(wav)),
    "wavlm_large_sv": (wavlm_sv, lambda state, wav: WavlmSpeaker.of(state)(wav)),
    "utmosv2_fold0": (utmosv2, _scores),
}
"""Name -> upstream's network, and what ours gives with its state dict."""


def _subjective(network: Subjective, wav: Tensor) -> Tensor:
    features = network.features(wav)
    return 5 - network.difference(features[1:], features[:1])


def main(upstream: Path, golden: Path, *names: str) -> None:
    sys.path[:0] = [
        str(upstream / "SpeechMOS"), str(upstream / "UniSpeech/downstreams/speaker_verification"),
        str(upstream / "s3prl"), str(upstream / "UTMOSv2"),
    ]  # fmt: skip
    torch.set_grad_enabled(False)
    for name, (make, ours) in NETWORKS.items():
        if name not in (names or [*NETWORKS][:-1]):
            continue
        for small in (False, True):
            torch.manual_seed(0)
            model, run = make(small)
            wav = 0.1 * torch.randn(2, 8_000)
            state = {key: value.clone() for key, value in model.state_dict().items()}
            expected = run(model, wav)
            difference = ((ours(state, wav) - expected).abs().max() / max(1, expected.abs().max())).item()
            print(f"{name:18}{'small' if small else 'published':10} largest difference {difference:.1e}")
            if difference > TOLERANCE:
                raise SystemExit(f"{name} is not what upstream gives")
        arrays = {f"state.{key}": value.numpy() for key, value in state.items()}
        np.savez_compressed(golden / f"{name}.npz", wav=wav.numpy(), output=expected.numpy(), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
