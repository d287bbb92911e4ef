"""The files behind metrics that hold a model: random weights, small, in the layout of each release."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evalkit.datasets.languages import NAMES
from evalkit.environment.extras import load, load_transformers

GOLDEN = Path(__file__).parents[1] / "evalkit" / "metrics" / "golden"
SPEECH = {
    "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
"""A small wav2vec 2.0, HuBERT or WavLM."""
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "|"]


def write(repository: str, name: str, folder: Path) -> None:
    """All files of `repository`, or, where that is "", the file `name`, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BUILDERS[repository or name](folder)


def mms(folder: Path) -> None:
    """facebook/mms-1b-all, with the adapters of every language of MLS."""
    transformers = load_transformers()
    from safetensors.torch import save_file

    names = [iso for _, iso in NAMES.values()]
    tokens = {iso: [*SPECIAL, *"aeinorst"[: 4 + n % 4]] for n, iso in enumerate(names)}
    (folder / "vocab.json").write_text(
        json.dumps({iso: {t: i for i, t in enumerate(ts)} for iso, ts in tokens.items()})
    )
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), target_lang="eng").save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    config = transformers.Wav2Vec2Config(
        **SPEECH, **LARGE, vocab_size=len(tokens["eng"]), num_hidden_layers=2, adapter_attn_dim=4, pad_token_id=0
    )
    model = transformers.Wav2Vec2ForCTC(config)
    model.save_pretrained(folder)
    for iso, some in tokens.items():
        model.lm_head = torch.nn.Linear(16, len(some))
        weights = {name: 3 * torch.randn_like(tensor) for name, tensor in model._get_adapters().items()}
        save_file(weights, folder / f"adapter.{iso}.safetensors")
    _also(folder, "special_tokens_map.json")


def hubert(folder: Path) -> None:
    """facebook/hubert-large-ls960-ft."""
    transformers = load_transformers()
    letters = [*SPECIAL, *"ABCDEFGHIJ'"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    config = transformers.HubertConfig(**SPEECH, **LARGE, vocab_size=len(letters), num_hidden_layers=2, pad_token_id=0)
    model = transformers.HubertForCTC(config)
    model.lm_head.weight.data *= 30
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    _also(folder, "special_tokens_map.json")


def whisper(folder: Path) -> None:
    """openai/whisper-large-v3, whose vocabulary is bytes and a few special tokens."""
    transformers = load_transformers()
    vocabulary = load("tokenizers", "models")
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
               "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]  # fmt: skip
    times = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    letters = sorted(vocabulary.pre_tokenizers.ByteLevel.alphabet())
    tokens = {token: i for i, token in enumerate([*letters, *special, *times])}
    base = vocabulary.Tokenizer(
        vocabulary.models.BPE(vocab={t: i for t, i in tokens.items() if t in letters}, merges=[])
    )
    base.pre_tokenizer = vocabulary.pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = vocabulary.decoders.ByteLevel()
    base.add_special_tokens(special)
    base.add_tokens(times)
    base.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").write_text(json.dumps({t: i for t, i in tokens.items() if t in letters}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "added_tokens.json").write_text(json.dumps({t: tokens[t] for t in (*special, *times)}))
    (folder / "normalizer.json").write_text("{}")
    end = special[0]
    about = {
        "tokenizer_class": "WhisperTokenizer",
        "bos_token": end,
        "eos_token": end,
        "unk_token": end,
        "pad_token": end,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    (folder / "special_tokens_map.json").write_text(json.dumps({k: v for k, v in about.items() if k.endswith("token")}))
    transformers.WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    ids = {name: tokens[token] for name, token in zip(("end", "start", "en"), special[:3], strict=True)}
    config = transformers.WhisperConfig(
        vocab_size=len(tokens), num_mel_bins=128, d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        pad_token_id=ids["end"], bos_token_id=ids["end"], eos_token_id=ids["end"],
        decoder_start_token_id=ids["start"],
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config)
    model.save_pretrained(folder)
    generation = transformers.GenerationConfig(
        bos_token_id=ids["end"], eos_token_id=ids["end"], pad_token_id=ids["end"], decoder_start_token_id=ids["start"],
        is_multilingual=True, lang_to_id={"<|en|>": ids["en"]}, max_length=12, max_initial_timestamp_index=50,
        task_to_id={"translate": tokens["<|translate|>"], "transcribe": tokens["<|transcribe|>"]},
        no_timestamps_token_id=tokens["<|notimestamps|>"], prev_sot_token_id=tokens["<|startofprev|>"],
        suppress_tokens=[i for token, i in tokens.items() if token not in "abcdefghij"],  # it says letters, and few
        begin_suppress_tokens=[ids["end"]], return_timestamps=False,
    )  # fmt: skip
    generation.save_pretrained(folder)


def wavlm_large(folder: Path) -> None:
    """microsoft/wavlm-large, as deep as the metric asks."""
    transformers = load_transformers()
    config = transformers.WavLMConfig(**SPEECH, **LARGE, num_hidden_layers=14)
    config.save_pretrained(folder)
    torch.save(transformers.WavLMModel(config).state_dict(), folder / "pytorch_model.bin")


def wavlm_base_sv(folder: Path) -> None:
    """microsoft/wavlm-base-plus-sv."""
    transformers = load_transformers()
    config = transformers.WavLMConfig(**SPEECH, num_hidden_layers=2, tdnn_dim=(16,) * 4 + (24,), xvector_output_dim=12)
    config.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    torch.save(transformers.WavLMForXVector(config).state_dict(), folder / "pytorch_model.bin")


class Embedder(torch.nn.Module):
    """Stands for ECAPA2: audio [B, T] to embeddings [B, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 6, 400, 160)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(wav.unsqueeze(1))).mean(2) + 0.01 * wav.std(1, keepdim=True)


def ecapa2(folder: Path) -> None:
    """Jenthe/ECAPA2, which is TorchScript."""
    torch.jit.script(Embedder().eval()).save(str(folder / "ecapa2.pt"))


def golden(name: str, file: str, inside: str = "", unused: int = 0) -> Callable[[Path], None]:
    """A small network under upstream's names (tests/oracle/metrics.py), in the published file; with `unused` numbers
    beside it that only training needs."""

    def build(folder: Path) -> None:
        with np.load(GOLDEN / f"{name}.npz") as found:
            state = {
                k.removeprefix("state."): torch.from_numpy(found[k]) for k in found.files if k.startswith("state.")
            }
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        torch.save({inside: state, "optimizer": torch.zeros(unused)} if inside else state, folder / file)

    return build


def nisqa(folder: Path) -> None:
    """NISQA's archive: the arguments that the public one has."""
    upstream = load("torchmetrics.functional.audio.nisqa", "nisqa")
    shape = {
        "ms_fmax": 20_000, "ms_n_fft": 4096, "ms_hop_length": 0.01, "ms_win_length": 0.02, "ms_n_mels": 48,
        "ms_seg_length": 15, "ms_seg_hop_length": 4, "ms_max_segments": 1300, "cnn_c_out_1": 16, "cnn_c_out_2": 32,
        "cnn_c_out_3": 64, "cnn_kernel_size": (3, 3), "cnn_dropout": 0.2, "cnn_pool_1": [24, 7], "cnn_pool_2": [12, 5],
        "cnn_pool_3": [6, 3], "td_sa_d_model": 64, "td_sa_nhead": 1, "td_sa_num_layers": 2, "td_sa_h": 64,
        "td_sa_dropout": 0.1, "pool_att_h": 128, "pool_att_dropout": 0,
    }  # fmt: skip
    torch.save({"args": shape, "model_state_dict": upstream._NISQADIM(shape).state_dict()}, folder / "nisqa.tar")


def scoreq(name: str) -> Callable[[Path], None]:
    """One of SCOREQ's ONNX models: mean and peak."""

    def build(folder: Path) -> None:
        onnx = load("onnx", "export")
        helper, number = onnx.helper, onnx.TensorProto.FLOAT
        nodes = [
            helper.make_node("ReduceMean", ["wav"], ["mean"], keepdims=1),
            helper.make_node("ReduceMax", ["wav"], ["peak"], keepdims=1),
            helper.make_node("Concat", ["mean", "peak"], ["out"], axis=1),
        ]
        ends = (helper.make_tensor_value_info(*one) for one in (("wav", number, [1, "T"]), ("out", number, [1, 2])))
        graph = helper.make_graph(nodes, "small", *([end] for end in ends))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(folder / name))

    return build


def _also(folder: Path, *names: str) -> None:
    """Files that a newer transformers no longer writes."""
    for name in names:
        if not (folder / name).exists():
            (folder / name).write_text("{}")


BUILDERS: dict[str, Callable[[Path], Any]] = {
    "facebook/mms-1b-all": mms,
    "facebook/hubert-large-ls960-ft": hubert,
    "openai/whisper-large-v3": whisper,
    "microsoft/wavlm-large": wavlm_large,
    "microsoft/wavlm-base-plus-sv": wavlm_base_sv,
    "k2-fsa/TTS_eval_models": golden(
        "wavlm_large_sv", "speaker_similarity/wavlm_large_finetune.pth", "model", 6_000_000
    ),
    "Jenthe/ECAPA2": ecapa2,
    "speechbrain/spkrec-ecapa-voxceleb": golden("ecapa_tdnn", "embedding_model.ckpt"),
    "sarulab-speech/UTMOSv2": golden("utmosv2_fold0", "fold0_s42_best_model.pth"),
    "utmos22_strong_step7459_v1.pt": golden("utmos22_strong", "utmos22_strong_step7459_v1.pt"),
    "squim_subjective_bvcc_daps.pth": golden("squim_subjective", "squim_subjective_bvcc_daps.pth"),
    "squim_objective_dns2020.pth": golden("squim_objective", "squim_objective_dns2020.pth"),
    "nisqa.tar": nisqa,
    "adapt_nr_synthetic.onnx": scoreq("adapt_nr_synthetic.onnx"),
    "fixed_nmr_synthetic.onnx": scoreq("fixed_nmr_synthetic.onnx"),
}
"""By repository of the hub, or by the file that has an address of its own. A metric whose files are not here has no
entry in the local hub, and a test says so."""
