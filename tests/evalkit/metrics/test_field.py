"""What the field reports beside the paper's metrics: against upstream's own call, or against numbers that it gave.

Numbers stand here where upstream's package is none of the project's: each says which one gave it, on
`example_pair(seconds, snr)`.
"""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit.errors import UndefinedScore, UsageError
from evalkit.metrics import (
    distillmos,
    hubert_asr,
    plcmos,
    resemblyzer,
    scoreq,
    speechbertscore,
    stft,
    visqol,
    warpq,
    whisper_asr,
    world,
)
from evalkit.metrics.base import Pair
from evalkit.metrics.load import load_metric
from evalkit.metrics.text import WHISPER_ENGLISH, text_errors
from evalkit.testing import example_pair

RATE = 16_000


def of_two(pair: Pair) -> Pair:
    """A copy of the reference."""
    return Pair(pair.reference, pair.reference)


@pytest.fixture(autouse=True)
def own_randomness() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# --- signals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [20, 5])
def test_stft_dac_is_audiotools_loss(snr: float) -> None:
    """By torch's STFT as descript-audiotools 0.7.2 calls it; the package itself gives 3.156211 for 3.3 s at 20 dB."""
    pair = example_pair(seconds=3.3, snr=snr)
    expected = 0.0
    for size in (2048, 512):
        window = torch.hann_window(size)
        a, b = (
            torch.stft(torch.from_numpy(x.copy()), size, size // 4, window=window, return_complex=True).abs()
            for x in (pair.decoded, pair.reference)
        )
        logs = ((x.clamp(1e-5) ** 2).log10() for x in (a, b))
        expected += torch.nn.functional.l1_loss(*logs).item() + torch.nn.functional.l1_loss(a, b).item()
    assert stft.STFT_DAC.score(pair) == pytest.approx(expected, abs=1e-5)
    if snr == 20:
        assert stft.STFT_DAC.score(pair) == pytest.approx(3.1562114, abs=1e-5)
    assert stft.STFT_DAC.score(of_two(pair)) == 0
    with pytest.raises(UndefinedScore, match="reflection"):
        stft.STFT_DAC.score(Pair(pair.reference[:1024], pair.decoded[:1024]))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (world.MCD_WORLD, 16.399977039464627),
        (world.F0_CORR_WORLD, 0.3913395407344195),
        (world.MCD_WORLD_DTW, 13.658904525779509),
        (world.F0_CORR_WORLD_DTW, 0.4190159353935516),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_world_metrics_are_those_of_versa(metric: world.WorldMetric, expected: float) -> None:
    """Numbers of VERSA (wavlab-speech/versa@c398480) with pysptk 1.0.1, on the same audio in float64."""
    assert metric.score(example_pair(seconds=2, snr=20)) == pytest.approx(expected, abs=1e-5)


def test_world_metrics_of_a_copy_and_of_noise() -> None:
    pair = example_pair(seconds=1)
    assert world.MCD_WORLD.score(of_two(pair)) == 0 and world.F0_CORR_WORLD.score(of_two(pair)) == pytest.approx(1)
    hiss = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    flat = world.Analysis(np.zeros((3, 40)), np.zeros(3), np.zeros(3))
    world._KNOWN.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "analyse", lambda wav: flat)
        for metric, reason in (
            (world.F0_CORR_WORLD, "constant pitch"),
            (world.F0_CORR_WORLD_DTW, "no voiced frame"),
        ):
            with pytest.raises(UndefinedScore, match=reason):
                metric.score(Pair(pair.reference, hiss))
    world._KNOWN.clear()


# --- models in packages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric", [visqol.VISQOL_SPEECH, visqol.VISQOL_SPEECH_EXP, visqol.VISQOL_AUDIO], ids=lambda m: m.name
)
def test_visqol_is_what_the_package_says(metric: visqol.Visqol) -> None:
    package = pytest.importorskip("visqol.api", reason="visqol-python is not installed")
    api = package.VisqolApi()
    api.create(mode=metric.mode, use_lattice_model=metric.lattice)
    pair = example_pair(seconds=1.5, rate=metric.rate)
    sides = (side.astype(np.float64) for side in (pair.reference, pair.decoded))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = api.measure_from_arrays(*sides, metric.rate).moslqo
    assert metric.score(pair) == pytest.approx(expected, abs=1e-9)
    best = {"visqol-speech": 4.0, "visqol-speech-exp": 4.999, "visqol-audio": 4.7}[metric.name]
    assert metric.score(of_two(pair)) >= best
    short = round(0.4 * metric.rate)
    with pytest.raises(UndefinedScore, match=r"shorter than 0\.5 s"):
        metric.score(Pair(pair.reference[:short], pair.decoded[:short]))


def test_visqol_starts_without_a_message_of_its_runtime() -> None:
    """In a process of its own: the runtime says once that it has started."""
    pytest.importorskip("visqol.api", reason="visqol-python is not installed")
    script = (
        "import os; from evalkit.metrics.visqol import VISQOL_SPEECH; from evalkit.testing import example_pair\n"
        "VISQOL_SPEECH.score(example_pair(seconds=1)); os.write(2, b'said afterwards')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stderr == b"said afterwards"


def test_visqol_audio_asks_for_48_kHz() -> None:
    assert visqol.VISQOL_AUDIO.rate == 48_000 and visqol.VISQOL_SPEECH.rate == RATE


def test_warpq_is_that_of_the_package() -> None:
    """Numbers of the package warpq 1.5.2 (with numpy's `pad` put back for it), which it rounds to three digits."""
    pytest.importorskip("webrtcvad", reason="webrtcvad is not installed")
    pair = example_pair(seconds=3, snr=20)
    assert warpq.WARPQ.score(pair) == pytest.approx(1.801, abs=6e-4)
    assert warpq.WARPQ.score(of_two(example_pair(seconds=4))) == pytest.approx(0.379, abs=6e-4)  # not 0
    with pytest.raises(UndefinedScore, match=r"0\.4 s of speech in the decoded audio"):
        warpq.WARPQ.score(Pair(pair.reference, pair.decoded * np.float32(1e-4)))
    with pytest.raises(UndefinedScore, match="times full scale"):
        warpq.WARPQ.score(Pair(pair.reference, 100 * pair.decoded))


def test_resemblyzer_is_that_of_the_package() -> None:
    """Numbers of the package resemblyzer 0.1.4: `embed_utterance(preprocess_wav(wav))`, and their product."""
    if not resemblyzer.SIM_RESEMBLYZER.availability().ready:
        pytest.skip(resemblyzer.SIM_RESEMBLYZER.availability().remedy)
    scorer = resemblyzer.SIM_RESEMBLYZER.open("cpu")

    def score(pair: Pair) -> float:
        return scorer.score(resemblyzer.SIM_RESEMBLYZER, pair)["sim-resemblyzer"]

    pair = example_pair(seconds=2, snr=20)
    assert score(pair) == pytest.approx(0.9208021, abs=1e-6)
    assert score(Pair(pair.reference * np.float32(0.02), pair.decoded)) == pytest.approx(0.87990713, abs=1e-6)
    assert score(example_pair(seconds=8, snr=30)) == pytest.approx(0.9889876, abs=1e-6)
    assert score(of_two(pair)) == pytest.approx(1)
    for seconds, reason in ((0.05, "no voice to recognize"), (0.41, "less than 0.4 s of speech")):
        size = round(seconds * RATE)
        with pytest.raises(UndefinedScore, match=reason):
            score(Pair(pair.reference[:size] + 1e-4, pair.decoded[:size] * np.float32(1e-3)))


def test_plcmos_is_the_packages_mean_over_seeded_raters() -> None:
    package = pytest.importorskip("speechmos.plcmos", reason="speechmos is not installed")
    wav = example_pair(seconds=2).decoded
    np.random.seed(0)
    expected = package.run(np.clip(wav, -1, 1), RATE)["plcmos"]
    np.random.seed(42)
    after = np.random.standard_normal(3)
    np.random.seed(42)
    scorer = plcmos.PLCMOS.open("cpu")
    assert scorer.score(plcmos.PLCMOS, Pair(wav, wav))["plcmos"] == pytest.approx(expected, abs=1e-9)
    np.testing.assert_array_equal(np.random.standard_normal(3), after)
    with pytest.raises(UndefinedScore, match="times full scale"):
        scorer.score(plcmos.PLCMOS, Pair(wav, 1000 * wav))


def test_distillmos_is_what_the_package_says() -> None:
    if not distillmos.DISTILLMOS.availability().ready:
        pytest.skip(distillmos.DISTILLMOS.availability().remedy)
    pair = example_pair(seconds=2)
    scorer = distillmos.DISTILLMOS.open("cpu")
    value = scorer.score(distillmos.DISTILLMOS, pair)["distillmos"]
    assert not isinstance(getattr(sys.modules.get("torchaudio"), "__file__", ""), type(None))  # no stand-in stayed
    import distillmos as package

    with torch.inference_mode():
        expected = package.ConvTransformerSQAModel().eval()(torch.from_numpy(pair.decoded.copy())[None]).item()
    assert value == pytest.approx(expected, abs=1e-6)
    quieter = Pair(pair.reference, pair.decoded * np.float32(0.1))
    assert scorer.score(distillmos.DISTILLMOS, quieter)["distillmos"] == pytest.approx(value, abs=1e-3)
    with pytest.raises(UndefinedScore, match="shorter than 1 s"):
        scorer.score(distillmos.DISTILLMOS, Pair(pair.reference[:15_000], pair.decoded[:15_000]))


# --- models with downloads, in their format ----------------------------------------------------------------------


@pytest.mark.parametrize("metric", [scoreq.SCOREQ_NR, scoreq.SCOREQ_REF], ids=lambda m: m.name)
def test_scoreq_fills_up_and_compares_as_the_package_does(metric: scoreq.Scoreq, tmp_path: Path, monkeypatch) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("ReduceMean", ["wav"], ["mean"], keepdims=1),
        helper.make_node("ReduceMax", ["wav"], ["peak"], keepdims=1),
        helper.make_node("Concat", ["mean", "peak"], ["out"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("wav", kinds.FLOAT, [1, "T"])],
        [helper.make_tensor_value_info("out", kinds.FLOAT, [1, 2])],
    )  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".cache" / "scoreq" / "onnx-models" / metric.files[0].name
    path.parent.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    assert metric.availability().ready
    pair = example_pair(seconds=0.5)
    length = -(-len(pair.decoded) // 320) * 320
    a, b = (np.array([x.sum(dtype=np.float64) / length, x.max()]) for x in (pair.reference, pair.decoded))
    expected = np.linalg.norm(a - b) if metric.uses_reference else b[0]
    assert metric.open("cpu").score(metric, pair)[metric.name] == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    return tmp_path / "hub"


def folder_of(hub: Path, repository: str, revision: str) -> Path:
    folder = hub / f"models--{repository.replace('/', '--')}" / "snapshots" / revision
    folder.mkdir(parents=True)
    return folder


def test_speechbertscore_is_the_authors_precision(hub: Path) -> None:
    """As DiscreteSpeechMetrics@350e190 computes it."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.WavLMConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, do_stable_layer_norm=True,
        feat_extract_norm="layer",
    )  # fmt: skip
    model = transformers.WavLMModel(config).eval()
    folder = folder_of(hub, speechbertscore.REPOSITORY, speechbertscore.REVISION)
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    files = tuple(replace(file, sha256=None) for file in speechbertscore.SPEECHBERTSCORE.files)
    metric = replace(speechbertscore.SPEECHBERTSCORE, files=files, layer=2)
    pair = example_pair(seconds=0.5)
    with torch.no_grad():
        v_ref, v_gen = (
            model(torch.from_numpy(x.copy())[None], output_hidden_states=True).hidden_states[2][0]
            for x in (pair.reference, pair.decoded)
        )
    similarity = v_gen @ v_ref.T / (v_gen.norm(dim=1, keepdim=True) * v_ref.norm(dim=1)[None])
    scorer = metric.open("cpu")
    assert scorer.score(metric, pair)[metric.name] == pytest.approx(similarity.max(dim=1)[0].mean().item(), abs=1e-5)
    assert scorer.score(metric, of_two(pair))[metric.name] == pytest.approx(1)


def test_wer_by_hubert_is_jiwers_on_what_its_card_says(hub: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed")
    folder = folder_of(hub, hubert_asr.REPOSITORY, hubert_asr.REVISION)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJ'"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    config = transformers.HubertConfig(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, do_stable_layer_norm=True,
        feat_extract_norm="layer", pad_token_id=0,
    )  # fmt: skip
    model = transformers.HubertForCTC(config).eval()
    model.lm_head.weight.data *= 30
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "special_tokens_map.json").exists() or (folder / "special_tokens_map.json").write_text("{}")
    processor = transformers.AutoProcessor.from_pretrained(folder)
    pair = replace(example_pair(seconds=1.5), transcript="A BAD CAGE'S HEAD")

    def upstream(wav: np.ndarray) -> str:
        with torch.no_grad():
            logits = model(processor(wav, return_tensors="pt", sampling_rate=RATE).input_values).logits
        return processor.decode(torch.argmax(logits, dim=-1)[0])

    scorer = hubert_asr.WER.open("cpu")
    found = scorer.score(hubert_asr.WER, pair)
    assert upstream(pair.decoded)
    expected = jiwer.wer("a bad cage is head", WHISPER_ENGLISH(upstream(pair.decoded)))
    assert found == {
        "wer-hubert-large-ls960": pytest.approx(100 * expected), "wer-hubert-large-ls960-words": 5.0,
    }  # fmt: skip
    ours = load_metric("wer-hubert-large-ls960:text=evalkit")
    assert isinstance(ours, hubert_asr.HubertWer) and ours.model == hubert_asr.WER.model
    assert scorer.score(ours, pair)[f"{ours.name}-words"] == 4.0  # CAGE'S is one word by our rule
    differential = scorer.score(hubert_asr.DWER, pair)["dwer-hubert-large-ls960"]
    spoken, recognized = (WHISPER_ENGLISH(upstream(wav)) for wav in (pair.reference, pair.decoded))
    assert differential == pytest.approx(100 * jiwer.wer(spoken, recognized))
    with pytest.raises(UndefinedScore, match="language is de: this HuBERT model recognizes only English"):
        hubert_asr.WER.open("cpu").score(hubert_asr.WER, replace(pair, language="de"))
    with pytest.raises(UsageError, match=r"takes text=evalkit\|whisper-en"):
        load_metric("wer-hubert-large-ls960:text=plain")


def whisper_release(folder: Path) -> None:
    """A small Whisper with random weights in the form of `openai/whisper-large-v3`: 128 mel bands, 1501 time stamps."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from tokenizers.pre_tokenizers import ByteLevel

    end, start, english, spoken = "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>"
    others = ["<|translate|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    letters = [*sorted(ByteLevel.alphabet()), end]
    tokenizer = transformers.WhisperTokenizerFast(vocab={letter: i for i, letter in enumerate(letters)}, merges=[])
    tokenizer.add_special_tokens({"extra_special_tokens": [start, english, spoken, *others]})
    tokenizer.add_tokens([f"<|{0.02 * i:.2f}|>" for i in range(1501)])
    number = tokenizer.convert_tokens_to_ids
    ends = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), number(end))
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer), num_mel_bins=128, d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        max_target_positions=24, decoder_start_token_id=number(start), **ends,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "embed_positions" not in name:
            parameter.data.normal_(0, 0.5)
    model.model.decoder.embed_tokens.weight.data[number("<|0.00|>") :] = 0  # no stamps unless they are asked for
    model.generation_config = transformers.GenerationConfig(
        max_length=20, is_multilingual=True, lang_to_id={english: number(english)},
        task_to_id={"transcribe": number(spoken), "translate": number("<|translate|>")},
        no_timestamps_token_id=number("<|notimestamps|>"), prev_sot_token_id=number("<|startofprev|>"),
        decoder_start_token_id=number(start), suppress_tokens=[], begin_suppress_tokens=[number(end)],
        max_initial_timestamp_index=50, return_timestamps=False, **ends,
    )  # fmt: skip
    for part in (tokenizer, model, transformers.WhisperFeatureExtractor(feature_size=128)):
        part.save_pretrained(folder)


def test_whisper_recognizes_as_transformers_pipeline_does_and_cuts_nothing_off(hub: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed")
    folder = folder_of(hub, whisper_asr.REPOSITORY, whisper_asr.REVISION)
    whisper_release(folder)
    recognizer = whisper_asr.WhisperRecognizer(folder, "cpu")
    upstream = transformers.pipeline("automatic-speech-recognition", model=str(folder), dtype=torch.float32)
    options = {"language": "english", "task": "transcribe", "do_sample": False, "num_beams": 1}
    rng = np.random.default_rng(0)
    long = (0.1 * rng.standard_normal(36 * RATE) * np.sin(np.arange(36 * RATE) / 3000)).astype(np.float32)
    for wav, stamps in ((long[: 2 * RATE], False), (long, True)):
        found = recognizer.infer([wav], "en")[0].item()
        assert found == upstream(wav.copy(), generate_kwargs=options, return_timestamps=stamps)["text"].strip() != ""
    windows: list[int] = []
    recognizer._model.model.encoder.register_forward_hook(lambda _, given, out: windows.append(len(out[0])))
    changed = long.copy()
    changed[32 * RATE :] = 0.1 * rng.standard_normal(4 * RATE)
    assert recognizer.infer([changed], "en")[0].item() != found and len(windows) > 1, "what follows 30 s counts"
    pair = replace(example_pair(seconds=1.5), transcript="a bad cage is head")
    found, text = recognizer.score(whisper_asr.WER, pair), recognizer.infer([pair.decoded], "en")[0].item()
    assert found["wer-whisper-large-v3"] == 100 * jiwer.wer(pair.transcript, WHISPER_ENGLISH(text))
    assert found["wer-whisper-large-v3-words"] == 5
    with pytest.raises(UndefinedScore, match="language is de"):
        recognizer.score(whisper_asr.WER, replace(pair, language="de"))


def test_words_are_counted_by_the_rule_that_was_named() -> None:
    assert text_errors("Mr. Quilter's colours", "mister quilter is colors", "words", WHISPER_ENGLISH) == (0, 4)
    assert text_errors("Mr. Quilter's colours", "mister quilter is colors", "words") == (4, 3)
    with pytest.raises(UndefinedScore, match="the reference text is empty"):
        text_errors("...", "a", "words", WHISPER_ENGLISH)


def test_whisper_english_is_transformers_with_the_table_of_spellings() -> None:
    transformers = pytest.importorskip("transformers.models.whisper.english_normalizer", reason="no transformers")
    upstream = transformers.EnglishTextNormalizer({"colour": "color", "colours": "colors", "grey": "gray"})
    for text in (
        "MR. QUILTER'S O'CLOCK",
        "twenty-one grey colours [noise]",
        "he won't, um, pay $3.50",
        "I'd've said 1960s",
    ):
        assert WHISPER_ENGLISH(text) == upstream(text)
