"""Metrics that hold a model: random weights in the public format, read back by the real code, against upstream's call.

The networks themselves are held to upstream's classes in test_networks.py.
"""

import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from evalkit.audio import Wave
from evalkit.datasets import load_dataset
from evalkit.environment import downloads
from evalkit.environment.downloads import File
from evalkit.environment.folders import hub_folder, torch_hub
from evalkit.errors import MissingError, UndefinedScore, UsageError
from evalkit.metrics import mms, nisqa, secs, squim
from evalkit.metrics.base import Pair
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.metrics.networks.ecapa_tdnn import EcapaTdnn
from evalkit.metrics.networks.squim import Objective, Subjective
from evalkit.metrics.networks.states import below
from evalkit.metrics.networks.wavlm_sv import WavlmSpeaker
from evalkit.metrics.text import NORMALIZER, character_errors
from evalkit.pipeline.jobs import Candidate, Job, Source
from evalkit.pipeline.plan import Plan, with_texts
from evalkit.pipeline.schedule import scoring_processes
from evalkit.pipeline.score import score_jobs
from evalkit.results.run import read_run

jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed")
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights but those that a test makes."""
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture(autouse=True)
def own_randomness() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def golden(name: str) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """State dict, input and output of a small network that upstream's own class made (tests/oracle/metrics.py)."""
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as file:
        found = {key: torch.from_numpy(file[key]) for key in file.files}
    return below(found, "state."), found["wav"], found["output"]


def noise(seconds: float, seed: int) -> Wave:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


def place(file: File) -> Path:
    """Where `file` belongs on this machine."""
    if not file.repository:
        path = torch_hub() / file.kept.partition(":")[2]
    else:
        folder = hub_folder() / f"models--{file.repository.replace('/', '--')}"
        revision = file.revision
        if revision == "main":
            revision = "a" * 40
            (folder / "refs").mkdir(parents=True, exist_ok=True)
            (folder / "refs" / "main").write_text(revision)
        path = folder / "snapshots" / revision / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def pairs_of(make: Callable[..., Pair]) -> list[Pair]:
    """Three recordings of different length in two versions each."""
    return [make(noise(s, i), noise(s, 10 * j + i)) for i, s in enumerate((0.5, 0.8, 0.3)) for j in (1, 2)]


def check_independence(metric: ModelMetric, pairs: list[Pair]) -> None:
    """The same values in another order, among others, one by one in a model opened anew, and in batches."""
    together = metric.open("cpu")
    first = [together.score(metric, pair) for pair in pairs]
    backwards = [together.score(metric, pair) for pair in reversed(pairs)]
    assert first == backwards[::-1]
    assert first[3] == metric.open("cpu").score(metric, pairs[3])
    for language in dict.fromkeys(pair.language for pair in pairs):
        check_batches(
            metric, [(pair, values) for pair, values in zip(pairs, first, strict=True) if pair.language == language]
        )


def check_batches(metric: ModelMetric, scored: list[tuple[Pair, Mapping[str, float]]]) -> None:
    """The same values from batches of three, in which all was heard that is needed."""
    scorer = metric.open("cpu")
    sizes: list[int] = []
    hear = scorer.infer
    scorer.infer = lambda wavs, language: sizes.append(len(wavs)) or hear(wavs, language)
    scorer.prepare(metric, [pair for pair, _ in scored], 3)
    heard = len(sizes)
    for pair, values in scored:
        assert scorer.score(metric, pair) == pytest.approx(values, abs=TOLERANCE)
    assert len(sizes) == heard and max(sizes) > 1


# --- text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Der  Bäcker,   fährt—schnell!  ", "der bäcker fährt schnell"),
        ("L'eau, c’est «bon» (23 €).", "leau cest bon 23"),
        ("Zaz\u0307o\u0301łc\u0301", "zażółć"),
        ("well-known and/or", "well known and or"),
        ("?!", ""),
    ],
)
def test_text_is_normalised_by_one_rule(text: str, normal: str) -> None:
    assert NORMALIZER(text) == normal
    assert NORMALIZER(normal) == normal


def test_character_errors_are_those_of_jiwer() -> None:
    assert character_errors("Ein Satz.", "ein satz") == (0, 8)
    errors, length = character_errors("guten morgen", "gute morgenn da")
    assert errors / length == pytest.approx(jiwer.cer("guten morgen", "gute morgenn da"))
    assert character_errors("abc", "")[0] == 3
    with pytest.raises(UndefinedScore, match="the reference text is empty"):
        character_errors("...", "abc")


# --- mms ---------------------------------------------------------------------------------------------------------

VOCABULARY = {
    "eng": ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghij"],
    "deu": ["<pad>", "<s>", "</s>", "<unk>", "|", *"klmnopqrstuvw", "ä"],
}


@pytest.fixture
def tiny_mms(own_places: Path) -> Path:
    """An MMS of toy size with adapters for English and German, in the layout of facebook/mms-1b-all."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from safetensors.torch import save_file

    folder = place(mms.BASE[0]).parent
    vocabulary = {lang: {token: i for i, token in enumerate(tokens)} for lang, tokens in VOCABULARY.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), target_lang="eng").save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(VOCABULARY["eng"]), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        do_stable_layer_norm=True, feat_extract_norm="layer", adapter_attn_dim=4, pad_token_id=0,
    )  # fmt: skip
    model = transformers.Wav2Vec2ForCTC(config)
    model.save_pretrained(folder)
    for lang, tokens in VOCABULARY.items():
        model.lm_head = torch.nn.Linear(16, len(tokens))
        weights = {k: 3 * torch.randn_like(v) for k, v in model._get_adapters().items()}
        save_file(weights, folder / f"adapter.{lang}.safetensors")
    for name in ("special_tokens_map.json",):
        (folder / name).exists() or (folder / name).write_text("{}")
    return folder


def upstream_text(folder: Path, wav: Wave, lang: str) -> str:
    """As the model's card says it is used."""
    from transformers import AutoProcessor, Wav2Vec2ForCTC

    processor = AutoProcessor.from_pretrained(folder, target_lang=lang)
    model = Wav2Vec2ForCTC.from_pretrained(folder, target_lang=lang, ignore_mismatched_sizes=True).eval()
    inputs = processor(wav, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        ids = torch.argmax(model(**inputs).logits, dim=-1)[0]
    return processor.decode(ids)


def test_mms_hears_what_upstream_hears(tiny_mms: Path) -> None:
    recognizer = mms.CER.open("cpu")
    wavs = [noise(0.5, 1), noise(0.9, 2)]
    heard = [[recognizer.infer([wav], lang)[0].item() for wav in wavs] for lang in ("en", "de", "en")]
    assert heard[0] == heard[2] != heard[1]  # switching back and forth leaves nothing behind
    for lang, texts in zip(("eng", "deu"), heard, strict=False):
        assert texts == [upstream_text(tiny_mms, wav, lang) for wav in wavs]
        assert any(texts)


def test_cer_is_that_of_jiwer_on_upstream_text(tiny_mms: Path) -> None:
    pair = Pair(noise(0.6, 1), noise(0.6, 2), transcript="Abba, fad-e!", language="en")
    scorer = mms.CER.open("cpu")
    found = scorer.score(mms.CER, pair)
    expected = jiwer.cer("abba fad e", NORMALIZER(upstream_text(tiny_mms, pair.decoded, "eng")))
    assert found["cer-mms"] == pytest.approx(100 * expected, abs=TOLERANCE) and found["cer-mms-chars"] == 10
    spoken = NORMALIZER(upstream_text(tiny_mms, pair.reference, "eng"))
    between = jiwer.cer(spoken, NORMALIZER(upstream_text(tiny_mms, pair.decoded, "eng")))
    assert scorer.score(mms.DCER, pair)["dcer-mms"] == pytest.approx(100 * between, abs=TOLERANCE)
    assert scorer.score(mms.DCER, replace(pair, decoded=pair.reference))["dcer-mms"] == 0


@pytest.mark.usefixtures("tiny_mms")
def test_cer_does_not_depend_on_what_else_is_scored() -> None:
    languages = iter(["en", "de"] * 3)
    pairs = pairs_of(lambda a, b: Pair(a, b, transcript="abc", language=next(languages)))
    for metric in (mms.CER, mms.DCER):
        check_independence(metric, pairs)


@pytest.mark.usefixtures("tiny_mms")
def test_cer_without_text_or_language_has_a_reason() -> None:
    scorer = mms.CER.open("cpu")
    pair = Pair(noise(0.5, 1), noise(0.5, 2), transcript=None, language="en")
    with pytest.raises(UndefinedScore, match="dcer-mms needs none"):
        scorer.score(mms.CER, pair)
    with pytest.raises(UndefinedScore, match="the language is not known"):
        scorer.score(mms.DCER, replace(pair, language=None))
    assert scorer.score(mms.DCER, replace(pair, language="en-GB")) == scorer.score(mms.DCER, pair)
    with pytest.raises(UndefinedScore, match="the language is ja"):
        scorer.score(mms.DCER, replace(pair, language="ja"))
    with pytest.raises(UndefinedScore, match="25 ms"):
        scorer.score(mms.DCER, replace(pair, reference=pair.reference[:300], decoded=pair.decoded[:300]))


def test_corpus_cer_adds_up_before_it_divides() -> None:
    values = [{"cer-mms": 50.0, "cer-mms-chars": 2.0}, {"cer-mms": 100 / 3, "cer-mms-chars": 30.0}]
    assert mms.CER.pooled(values)["cer-mms-corpus"] == pytest.approx(100 * 11 / 32)
    assert mms.CER.pooled([]) == {}


def test_bfloat16_is_another_column_and_close(tiny_mms: Path) -> None:
    metric = load_metric("dcer-mms:dtype=bfloat16")
    assert metric.name == "dcer-mms:dtype=bfloat16" and metric.rows[0] == metric.name
    assert isinstance(metric, mms.MmsCer) and metric.model != mms.DCER.model
    pair = Pair(noise(0.6, 1), noise(0.6, 2), language="en")
    assert metric.open("cpu").score(metric, pair)[metric.name] >= 0
    with pytest.raises(UsageError, match=r"float32\|bfloat16"):
        load_metric("cer-mms:dtype=int8")


def test_what_mms_needs_depends_on_the_languages(tiny_mms: Path) -> None:
    assert mms.CER.availability(["en", "de"]).ready
    (missing,) = mms.CER.missing(["en", "de", "pl"])
    assert missing.name == "adapter.pol.safetensors"
    state = mms.CER.availability(["pl"])
    assert state.code == "needs download" and "CC BY-NC 4.0" in state.remedy
    assert "evalkit fetch cer-mms --languages pl" in state.remedy


# --- secs --------------------------------------------------------------------------------------------------------


class Embedder(torch.nn.Module):
    """Stands for ECAPA2: audio [B, T] to embeddings [B, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 6, 400, 160)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(wav.unsqueeze(1))).mean(2) + 0.01 * wav.std(1, keepdim=True)


@pytest.fixture
def tiny_ecapa2(own_places: Path) -> Embedder:
    model = Embedder().eval()
    torch.jit.script(model).save(str(place(secs.SECS_ECAPA2.files[0])))
    return model


@pytest.fixture
def tiny_speaker(own_places: Path) -> Path:
    """UniSpeech's speaker model on WavLM, a small one, in the public file."""
    state, _, _ = golden("wavlm_large_sv")
    path = place(secs.SIM_WAVLM_LARGE.files[0])
    torch.save({"model": state | {"loss_calculator.projection.weight": torch.zeros(2)}}, path)
    return path


def test_sim_is_the_cosine_of_the_networks_embeddings(tiny_speaker: Path) -> None:
    metric = secs.SIM_WAVLM_LARGE
    network = WavlmSpeaker.of(golden("wavlm_large_sv")[0])
    pairs = pairs_of(Pair)
    scorer = metric.open("cpu")
    for pair in pairs:
        with torch.inference_mode():
            a, b = (network(torch.from_numpy(wav)[None])[0] for wav in (pair.reference, pair.decoded))
        expected = torch.nn.functional.cosine_similarity(a, b, dim=0).item()
        assert scorer.score(metric, pair)[metric.name] == pytest.approx(expected, abs=TOLERANCE)
    check_independence(metric, pairs)


def test_sim_by_wavlm_base_is_what_its_card_says(own_places: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = place(secs.SIM_WAVLM_BASE.files[0]).parent
    config = transformers.WavLMConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, tdnn_dim=(16,) * 4 + (24,),
        xvector_output_dim=12,
    )  # fmt: skip
    model = transformers.WavLMForXVector(config).eval()
    config.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    pair = Pair(noise(0.6, 1), noise(0.6, 2))
    inputs = extractor([pair.reference, pair.decoded], sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        embeddings = torch.nn.functional.normalize(model(**inputs).embeddings, dim=-1)
    scorer = secs.SIM_WAVLM_BASE.open("cpu")
    found = scorer.score(secs.SIM_WAVLM_BASE, pair)["sim-wavlm-base-plus-sv"]
    assert found == pytest.approx((embeddings[0] @ embeddings[1]).item(), abs=TOLERANCE)
    with pytest.raises(UndefinedScore, match=r"0\.4 s"):
        scorer.score(secs.SIM_WAVLM_BASE, Pair(noise(0.3, 1), noise(0.3, 2)))


def pinned(path: Path) -> secs.Ecapa2:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(secs.SECS_ECAPA2, files=(replace(secs.SECS_ECAPA2.files[0], sha256=digest),))


def test_secs_is_the_cosine_of_what_the_model_says(tiny_ecapa2: Embedder) -> None:
    metric = pinned(place(secs.SECS_ECAPA2.files[0]))
    pairs = pairs_of(Pair)
    scorer = metric.open("cpu")
    for pair in pairs:
        with torch.no_grad():
            a, b = (tiny_ecapa2(torch.from_numpy(wav)[None]) for wav in (pair.reference, pair.decoded))
        expected = torch.nn.functional.cosine_similarity(a, b).item()
        assert scorer.score(metric, pair)["secs-ecapa2"] == pytest.approx(expected, abs=TOLERANCE)
    check_independence(metric, pairs)
    same = Pair(pairs[0].reference, pairs[0].reference)
    assert scorer.score(metric, same)["secs-ecapa2"] == pytest.approx(1)
    with pytest.raises(UndefinedScore, match="digital silence"):
        scorer.score(metric, Pair(pairs[0].reference, np.zeros_like(pairs[0].reference)))


@pytest.mark.usefixtures("tiny_ecapa2")
def test_torchscript_is_code_and_only_opened_if_pinned() -> None:
    (file,) = secs.SECS_ECAPA2.files
    assert file.sha256 and file.size and file.revision != "main"  # `fetch secs-ecapa2` needs nothing else
    with pytest.raises(MissingError, match="is not the pinned file"):
        secs.SECS_ECAPA2.open("cpu")
    unpinned = replace(secs.SECS_ECAPA2, files=(replace(file, sha256=None),))
    path = place(file)
    state = unpinned.availability()
    assert not state.ready and "--sha256 HEX" in state.remedy
    with pytest.raises(MissingError, match="its sha256 is not recorded, so it is not opened"):
        unpinned.open("cpu")
    downloads.pin(unpinned.files[0], hashlib.sha256(path.read_bytes()).hexdigest())
    assert unpinned.availability().ready
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unpinned.open("cpu")
    path.write_bytes(path.read_bytes() + b"something else")
    with pytest.raises(MissingError, match="is not the pinned file"):
        unpinned.open("cpu")
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        downloads.pin(unpinned.files[0], "abc")
    path.write_bytes(b"no TorchScript")
    with pytest.raises(MissingError, match="cannot be opened as TorchScript"):
        pinned(path).open("cpu")


def test_other_weights_are_another_metric(tiny_ecapa2: Embedder) -> None:
    before = secs.SECS_ECAPA2.identity()
    tiny_ecapa2.conv.weight.data *= 2
    torch.jit.script(tiny_ecapa2).save(str(place(secs.SECS_ECAPA2.files[0])))
    assert secs.SECS_ECAPA2.identity() != before


def test_secs_ecapa_is_the_cosine_of_the_networks_embeddings(own_places: Path) -> None:
    state, _, _ = golden("ecapa_tdnn")
    path = place(secs.SECS_ECAPA.files[0])
    torch.save(state, path)
    with pytest.raises(MissingError, match="is not the pinned file"):
        secs.SECS_ECAPA.open("cpu")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    metric = replace(secs.SECS_ECAPA, files=(replace(secs.SECS_ECAPA.files[0], sha256=digest),))
    network = EcapaTdnn.of(state)
    pairs = pairs_of(Pair)
    scorer = metric.open("cpu")
    for pair in pairs:
        with torch.inference_mode():
            a, b = (network(torch.from_numpy(wav)[None])[0] for wav in (pair.reference, pair.decoded))
        expected = torch.nn.functional.cosine_similarity(a, b, dim=0).item()
        assert scorer.score(metric, pair)["secs-ecapa"] == pytest.approx(expected, abs=TOLERANCE)
    check_independence(metric, pairs)


# --- squim -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_squim(own_places: Path) -> Subjective:
    """SQUIM's subjective model, a small one, in the public file."""
    state, _, _ = golden("squim_subjective")
    torch.save(state, place(squim.SQMOS.files[0]))
    return Subjective.of(state)


def test_sqmos_is_what_the_network_gives(tiny_squim: Subjective, own_places: Path) -> None:
    clip = noise(0.35, 99)
    soundfile.write(own_places / "clip.wav", clip, 16_000, subtype="FLOAT")
    fixed = load_metric(f"sqmos:reference={own_places / 'clip.wav'}")
    assert isinstance(fixed, squim.Sqmos) and squim.SQMOS.choices == {"reference": "original"}
    assert fixed.choices["reference"] == str(own_places / "clip.wav") and len(fixed.choices["reference_pcm"]) == 64
    pairs = pairs_of(Pair)
    for metric, reference in ((squim.SQMOS, None), (fixed, clip)):
        scorer = metric.open("cpu")
        for pair in pairs:
            beside = pair.reference if reference is None else np.tile(reference, 3)[: len(pair.decoded)]
            with torch.inference_mode():
                sides = (tiny_squim.features(torch.from_numpy(wav)[None]) for wav in (beside, pair.decoded))
                expected = 5 - tiny_squim.difference(*sides).item()
            assert scorer.score(metric, pair)[metric.name] == pytest.approx(expected, abs=TOLERANCE)
        check_independence(metric, pairs)
    with pytest.raises(UsageError, match="takes reference=PATH"):
        load_metric("sqmos:clip=x")


def test_squim_objective_gives_each_head_its_own_estimate(own_places: Path) -> None:
    state, _, _ = golden("squim_objective")
    file = squim.SQUIM_PESQ.files[0]
    torch.save(state, place(file))
    pair = Pair(noise(0.4, 1), noise(0.4, 2))
    with torch.inference_mode():
        expected = Objective.of(state)(torch.from_numpy(pair.decoded)[None])[0].tolist()
    metrics = [
        replace(metric, files=(replace(file, sha256=None),))
        for metric in (squim.SQUIM_STOI, squim.SQUIM_PESQ, squim.SQUIM_SI_SDR)
    ]
    scorer = metrics[0].open("cpu")
    assert [scorer.score(m, pair)[m.name] for m in metrics] == pytest.approx(expected, abs=TOLERANCE)


def test_damaged_weights_are_refused(tiny_squim: Subjective) -> None:
    path = place(squim.SQMOS.files[0])
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(MissingError, match="cannot be read as weights"):
        squim.SQMOS.open("cpu")


# --- nisqa -------------------------------------------------------------------------------------------------------

NISQA_SHAPE = {
    "ms_fmax": 20_000, "ms_n_fft": 4096, "ms_hop_length": 0.01, "ms_win_length": 0.02, "ms_n_mels": 48,
    "ms_seg_length": 15, "ms_seg_hop_length": 4, "ms_max_segments": 1300, "cnn_c_out_1": 16, "cnn_c_out_2": 32,
    "cnn_c_out_3": 64, "cnn_kernel_size": (3, 3), "cnn_dropout": 0.2, "cnn_pool_1": [24, 7], "cnn_pool_2": [12, 5],
    "cnn_pool_3": [6, 3], "td_sa_d_model": 64, "td_sa_nhead": 1, "td_sa_num_layers": 2, "td_sa_h": 64,
    "td_sa_dropout": 0.1, "pool_att_h": 128, "pool_att_dropout": 0,
}  # fmt: skip
"""What the public checkpoint says of the model."""


@pytest.fixture
def upstream_nisqa(own_places: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """torchmetrics' NISQA, which finds random weights in the public format where it looks for its own."""
    upstream = pytest.importorskip("torchmetrics.functional.audio.nisqa", reason="torchmetrics has no NISQA")
    pytest.importorskip("librosa", reason="librosa is not installed")
    monkeypatch.setenv("HOME", str(own_places))
    path = own_places / ".torchmetrics" / "NISQA" / "nisqa.tar"
    path.parent.mkdir(parents=True)
    torch.save({"args": NISQA_SHAPE, "model_state_dict": upstream._NISQADIM(NISQA_SHAPE).state_dict()}, path)
    monkeypatch.setattr(upstream, "_download_weights", lambda: pytest.fail("torchmetrics would download by itself"))
    upstream._load_nisqa_model.cache_clear()
    yield upstream
    upstream._load_nisqa_model.cache_clear()


def test_nisqa_is_what_torchmetrics_gives_on_verified_weights_alone(upstream_nisqa: ModuleType) -> None:
    with pytest.raises(MissingError, match="is not the pinned file"):
        nisqa.MOS.open("cpu")
    path = nisqa.WEIGHTS.find()
    assert path is not None and "CC BY-NC-SA 4.0" in nisqa.WEIGHTS.license
    metric = replace(nisqa.MOS, files=(replace(nisqa.WEIGHTS, sha256=downloads.sha256(path)),))
    pairs = pairs_of(Pair)
    expected = upstream_nisqa.non_intrusive_speech_quality_assessment(torch.from_numpy(pairs[0].decoded), 16_000)
    scorer = metric.open("cpu")
    for head, value in zip(nisqa.HEADS, expected.tolist(), strict=True):
        one = load_metric(f"nisqa-{head}")
        assert scorer.score(one, pairs[0])[one.name] == pytest.approx(value, abs=TOLERANCE)
    check_independence(metric, pairs)
    for seconds, reason in ((0.1, "NISQA's window"), (53, "52 s")):
        with pytest.raises(UndefinedScore, match=reason):
            scorer.score(metric, Pair(noise(seconds, 1), noise(seconds, 2)))


# --- runs --------------------------------------------------------------------------------------------------------


def evalkit_command(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: those that score inherit its environment."""
    command = [sys.executable, "-m", "evalkit.cli", *map(str, arguments)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | more
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture
def speech_set(own_places: Path) -> Path:
    """Three short recordings, two with text."""
    folder = own_places / "set"
    folder.mkdir()
    lines = ["file_name,language,transcript"]
    for name, language, text in (("a", "en", "abba"), ("b", "de", "kolm"), ("c", "en", "")):
        soundfile.write(folder / f"{name}.wav", noise(0.5, len(lines)), 16_000)
        lines.append(f"{name}.wav,{language},{text}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_with_models(tiny_mms: Path, tiny_speaker: Path, speech_set: Path, own_places: Path) -> None:
    wanted = "cer-mms,dcer-mms,dcer-mms:dtype=bfloat16,sim-wavlm-large-sv,si-sdr"
    run = ("run", "--dataset", f"folder:{speech_set}", "--codec", "codec2@1.2k", "--metrics", wanted)
    first = evalkit_command(*run, "--codec", "pcm", "--output", own_places / "one")
    assert first.returncode == 4, first.stderr  # c has no text: one value is missing
    assert "there is no transcript" in first.stderr
    rows = read_run(own_places / "one").rows.set_index(["codec", "utterance", "metric"])["value"]
    pcm, codec = (next(n for n in rows.index.levels[0] if n.startswith(name)) for name in ("pcm", "codec2"))
    assert rows[pcm, "a", "dcer-mms"] == 0
    ratio = [(rows[codec, u, "cer-mms"], rows[codec, u, "cer-mms-chars"]) for u in ("a", "b")]
    pooled = sum(value * n for value, n in ratio) / sum(n for _, n in ratio)
    assert rows[codec, "*", "cer-mms-corpus"] == pytest.approx(pooled)
    about = read_run(own_places / "one").provenance["metrics"]
    assert about["cer-mms"]["settings"] == {"reference": "transcript", "normalizer": "1", "dtype": "float32"}
    digest = hashlib.sha256((tiny_mms / "model.safetensors").read_bytes()).hexdigest()
    assert about["cer-mms"]["weights"]["facebook/mms-1b-all/model.safetensors"] == digest
    assert "CER corpus" in first.stdout
    drift = evalkit_command("drift", own_places / "one", "dcer-mms", "dcer-mms:dtype=bfloat16", "--format", "markdown")
    assert drift.returncode == 0 and "Order of the codecs by dcer-mms and by dcer-mms:dtype=bfloat16" in drift.stdout
    assert pcm in drift.stdout and codec in drift.stdout


@pytest.mark.slow
def test_the_cache_other_codecs_and_shards_change_nothing(
    tiny_mms: Path, tiny_speaker: Path, speech_set: Path, own_places: Path
) -> None:
    run = (
        "run",
        "--dataset",
        f"folder:{speech_set}",
        "--codec",
        "codec2@1.2k",
        "--metrics",
        "cer-mms,dcer-mms,sim-wavlm-large-sv",
    )
    assert evalkit_command(*run, "--codec", "pcm", "--output", own_places / "one").returncode == 4
    assert evalkit_command(*run, "--output", own_places / "two").returncode == 4  # from the cache
    both, alone = (read_run(own_places / name).rows for name in ("one", "two"))
    codec = alone["codec"].iloc[0]
    assert alone.equals(both[both["codec"] == codec].reset_index(drop=True))
    shards = [own_places / f"part-{i}" for i in (1, 2)]
    for i, output in enumerate(shards, 1):
        evalkit_command(*run, "--output", output, "--shard", f"{i}/2", "--no-cache")
    assert evalkit_command("merge", *shards, "--output", own_places / "merged").returncode == 4
    whole, parts = ((own_places / name / "rows.parquet").read_bytes() for name in ("two", "merged"))
    assert whole == parts


def test_without_any_transcript_the_other_cer_is_measured_and_said(speech_set: Path) -> None:
    def plan_for(dataset: str, *metrics: str) -> tuple[Plan, list[str]]:
        return with_texts(Plan((), load_dataset(dataset), metrics, speech_set, scoring_processes(1)))

    with_text = f"folder:{speech_set}"
    assert plan_for(with_text, "cer-mms", "si-sdr")[0].metrics == ("cer-mms", "si-sdr")
    (speech_set / "metadata.csv").unlink()
    plan, notes = plan_for(with_text, "si-sdr", "cer-mms", "dcer-mms")
    assert plan.metrics == ("si-sdr", "dcer-mms")
    assert notes == ["folder:set has no transcripts: dcer-mms was measured instead of cer-mms."]


def test_missing_weights_end_a_run_at_once_with_all_that_is_missing(own_places: Path) -> None:
    output = own_places / "run"
    before = os.times().children_user
    done = evalkit_command("run", "--codec", "opus@6k", "--metrics", "paper", "--output", output)
    assert done.returncode == 3 and os.times().children_user - before < 10  # seconds of the processor: opens no model
    for word in (
        "squim_subjective_bvcc_daps.pth", "377.0 MB", "model.safetensors", "3.9 GB", "adapter.pol.safetensors",
        "ecapa2.pt", "CC BY-NC 4.0 (non-commercial)", "evalkit fetch sqmos cer-mms secs-ecapa2",
    ):  # fmt: skip
        assert word in done.stderr
    assert not output.exists()
    some = evalkit_command(
        "run", "--codec", "opus@6k", "--metrics", "paper,available", "--limit", "2", "--output", output
    )
    assert some.returncode == 0 and "left out" in some.stderr
    assert set(read_run(output).provenance["metrics"]) == {"pesq-wb", "mel-2048-80-ln1p"}
    none = evalkit_command("run", "--codec", "pcm", "--metrics", "sqmos,available", "--output", own_places / "none")
    assert none.returncode == 3


def test_a_model_that_cannot_be_opened_costs_its_rows_only(tiny_speaker: Path, speech_set: Path) -> None:
    tiny_speaker.write_bytes(b"no weights")
    file = Source(speech_set / "a.wav")
    job = Job(file, (Candidate(0, file, ("si-sdr", "sim-wavlm-large-sv")),))
    sound, refused = score_jobs((job,)).scores
    assert sound.value == 100
    assert refused.value is None and not refused.settled
    assert "cannot be read as weights" in str(refused.reason)


def test_another_language_changes_nothing_for_those_that_were_there(tiny_mms: Path) -> None:
    before = mms.CER.identity("de")
    place(mms.ADAPTERS["pl"]).write_bytes(b"another adapter")
    assert mms.CER.identity("de") == before
    place(mms.ADAPTERS["de"]).write_bytes(b"another adapter")
    assert mms.CER.identity("de") != before
