"""The Python API: the same numbers as the command line, from names, files and objects."""

import doctest
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

import evalkit
from evalkit.api import RunOptions
from evalkit.audio import Wave
from evalkit.cli import main
from evalkit.codecs import Codes
from evalkit.errors import MissingError, UsageError
from evalkit.evaluation import Evaluation
from evalkit.metrics.base import Pair, PairMetric
from nanocodec.checkpoint import save
from nanocodec.config import get_config
from nanocodec.testing import narrow, seeded_model

RATE = 16_000
CHEAP = "si-sdr,mel-2048-80-ln1p"


class Rounding:
    """Samples rounded to 8 bits."""

    name = "rounding"
    sample_rate: int | None = RATE
    frame_rate: float | None = float(RATE)
    codebook_sizes: tuple[int, ...] = (256,)
    streaming = True
    details: dict[str, object] = {}  # noqa: RUF012

    def encode(self, wav: Wave) -> Codes:
        return Codes(len(wav), np.clip(np.round(wav * 127) + 128, 0, 255).astype(np.int64)[None], (256,))

    def decode(self, codes: Codes) -> Wave:
        assert codes.indices is not None
        return ((codes.indices[0] - 128) / 127).astype(np.float32)


@dataclass(frozen=True)
class Peak(PairMetric):
    """Largest difference of two samples."""

    def score(self, pair: Pair) -> float:
        return float(np.abs(pair.reference - pair.decoded).max())


PEAK = Peak("peak", "Peak", "down", "", 0.0, 2.0, "1", 3)


@pytest.fixture
def folder(tmp_path: Path, speech: np.ndarray) -> Path:
    """Three recordings."""
    for number in range(3):
        (tmp_path / "data").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "data" / f"u{number}.wav", speech[number * 8000 :][:RATE], RATE, subtype="FLOAT")
    return tmp_path / "data"


def values(run: Evaluation) -> dict[tuple[str, str], float]:
    rows = run.rows[run.rows["utterance"] != "*"]
    return dict(zip(zip(rows["utterance"], rows["metric"], strict=True), rows["value"], strict=True))


def test_the_example_of_the_package_is_true() -> None:
    assert doctest.testmod(evalkit).failed == 0


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, evalkit; print(sorted({'torch', 'pandas', 'scipy', 'numpy', 'soundfile'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_command_line_run_score_and_measure_agree(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "cli"
    command = ["run", "--codec", "opus@6k", "--dataset", f"folder:{folder}", "--metrics", CHEAP, "--save-audio"]
    assert main([*command, "--output", str(output)]) == 0
    by_command = evalkit.load_run(output)
    by_api = evalkit.run("opus@6k", f"folder:{folder}", CHEAP, tmp_path / "api")
    assert (output / "rows.parquet").read_bytes() == (tmp_path / "api" / "rows.parquet").read_bytes()
    audio = output / "audio"
    scored = evalkit.score(audio / "reference", str(audio / "opus@6k"), metrics=CHEAP, output=tmp_path / "scored")
    assert values(scored) == pytest.approx(values(by_command), abs=1e-6) and by_api.summary.shape[0] == 2
    for utterance in ("u0", "u2"):
        pair = [audio / name / f"{utterance}.wav" for name in ("reference", "opus@6k")]
        for name, score in evalkit.measure(*pair, metrics=CHEAP).items():
            assert score.value == pytest.approx(values(by_command)[utterance, name], abs=1e-6) and score.reason is None


def test_arrays_and_their_files_score_alike(folder: Path) -> None:
    one, two = folder / "u0.wav", folder / "u1.wav"
    arrays = [soundfile.read(path)[0] for path in (one, two)]
    assert evalkit.measure(*arrays, sample_rate=RATE, metrics=CHEAP) == evalkit.measure(one, str(two), metrics=CHEAP)


def test_arrays_come_with_their_rate(speech: np.ndarray) -> None:
    with pytest.raises(UsageError, match="give its sample_rate"):
        evalkit.measure(speech, speech, metrics="si-sdr")
    with pytest.raises(UsageError, match=r"array \[T\] of floats, .* not int16 of shape \[2\]"):
        evalkit.measure(np.zeros(2, np.int16), speech, sample_rate=RATE, metrics="si-sdr")
    with pytest.raises(UsageError, match="files have their own sampling rate: leave out sample_rate=8000"):
        evalkit.measure("a.wav", Path("b.wav"), sample_rate=8000, metrics="si-sdr")
    for rate in (0, 22_050.5, float("nan"), "16000", [16000]):
        with pytest.raises(UsageError, match="sample_rate must be 4000 to 384000, in whole Hz"):
            evalkit.measure(speech, speech, sample_rate=rate, metrics="si-sdr")  # type: ignore[arg-type]
    for odd, said in (([[1.0], [1.0, 2.0]], "cannot be read"), (np.ma.masked_array(speech, speech > 0), "masked")):
        with pytest.raises(UsageError, match=said):
            evalkit.measure(odd, speech, sample_rate=RATE, metrics="si-sdr")
    with pytest.warns(UserWarning, match=r"differs from its reference: silent"):
        silent = evalkit.measure(speech, np.zeros_like(speech), sample_rate=RATE, metrics="si-sdr")["si-sdr"]
    assert silent.value is None and silent.reason and "silence" in silent.reason


@pytest.mark.parametrize(
    "options",
    [{"jobs": 0}, {"jobs": "2"}, {"batch": 0}, {"seed": 1.5}, {"timeout": -1}, {"timeout": float("nan")},
     {"max_seconds": "3"}],
)  # fmt: skip
def test_options_that_are_no_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))} must be a "):
        RunOptions(**options)


@pytest.mark.parametrize(("codecs", "metrics"), [([], "si-sdr"), ("pcm", []), ("pcm", "available")])
def test_a_run_of_nothing_is_refused(codecs: object, metrics: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name"):
        evalkit.run(codecs, "builtin", metrics, tmp_path / "run")


def test_audio_in_the_run_that_is_replaced_is_kept(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    evalkit.run("pcm", f"folder:{folder}", "si-sdr", run, save_audio=True)
    audio = run / "audio"
    (decoded,) = {*audio.iterdir()} - {audio / "reference"}
    before = sorted(audio.rglob("*.wav"))
    for reference, made in ((audio / "reference", folder), (folder, decoded)):
        with pytest.raises(UsageError, match="would be deleted"):
            evalkit.score(reference, made, metrics="si-sdr", output=run, overwrite=True)
    with pytest.raises(UsageError, match="would be deleted"):
        evalkit.run("opus", f"folder:{folder}", "si-sdr", run, rendered={"opus": decoded}, overwrite=True)
    assert sorted(audio.rglob("*.wav")) == before and len(before) == 6


def test_objects_stand_where_names_do(folder: Path, tmp_path: Path) -> None:
    run = evalkit.run([Rounding(), "pcm"], f"folder:{folder}", [PEAK, "si-sdr"], tmp_path / "run")
    peaks = run.rows[run.rows["metric"] == "peak"].groupby("codec")["value"].max()
    assert peaks["pcm@float32"] == 0 and 0 < peaks["rounding"] < 0.01
    assert run.codes["codec"].eq("rounding").any() and "rounding" in str(run.table()) and "<table>" in run._repr_html_()
    assert len(run.table().frames[0]) == 2 and run.compare().frames and run.report(tmp_path / "r.html").is_file()


def test_a_codec_and_a_metric_in_a_file(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    command = ["run", "--codec", f"{file}:Rounding", "--codec", f"again={file}:Rounding", "--metrics", f"{file}:PEAK"]
    assert main([*command, "--dataset", f"folder:{folder}", "--output", str(tmp_path / "run")]) == 0
    rows = evalkit.load_run(tmp_path / "run").rows
    assert set(rows["codec"]) == {"rounding", "again"} and set(rows["metric"]) == {"peak"}


def test_two_checkpoints_of_one_codec_in_one_table(folder: Path, tmp_path: Path) -> None:
    run = evalkit.run(["a=opus@6k", "b=opus@6k"], f"folder:{folder}", "si-sdr", tmp_path / "run")
    assert list(run.provenance.codecs) == ["a", "b"] and run.provenance.codecs["a"].spec == "opus@6k"
    for codecs, weights, message in (
        (["opus@6k", "opus"], (), "named twice"),
        (["a=opus@6k", "a=pcm"], (), "named twice"),
        (["x=nanocodec@1.1k"], ["x=1.st", "x=2.st"], "--weights is given twice for x"),
    ):
        with pytest.raises(UsageError, match=message):
            evalkit.run(codecs, f"folder:{folder}", "si-sdr", tmp_path / "no", weights=weights)


def test_two_files_of_one_name_stand_in_one_table(folder: Path, tmp_path: Path) -> None:
    config = narrow(get_config("1.1k"), 2, 32)
    for seed, name in enumerate(("old", "new")):
        (tmp_path / name).mkdir()
        save(seeded_model(config, seed), tmp_path / name / "codec.safetensors")
    weights = {name: tmp_path / name / "codec.safetensors" for name in ("old", "new")}
    codecs = [f"{name}=nanocodec@1.1k" for name in weights]
    run = evalkit.run(codecs, f"folder:{folder}", "mel-2048-80-ln1p", tmp_path / "run", weights=weights)
    values = run.summary.set_index("codec")["mean"]
    assert list(run.provenance.codecs) == list(values.index) == ["old", "new"] and values["old"] != values["new"]
    hashes = [run.provenance.codecs[name].details["weights_sha256"] for name in weights]
    assert hashes[0] != hashes[1]
    apart = [
        evalkit.run(
            codec, f"folder:{folder}", "mel-2048-80-ln1p", tmp_path / f"run-{name}", weights=[f"{name}={weights[name]}"]
        )
        for codec, name in zip(codecs, weights, strict=True)
    ]
    (joined,) = apart[0].table(apart[1]).frames
    label = run.provenance.metrics["mel-2048-80-ln1p"].label
    assert dict(zip(joined["Codec"], joined[label], strict=True)) == pytest.approx(dict(values))


@dataclass(frozen=True)
class Words(PairMetric):
    """Needs the text, unless `text` is False."""

    text: bool = True

    @property
    def without_text(self) -> str | None:
        return "dwords" if self.text else None

    def score(self, pair: Pair) -> float:
        return float(len((pair.transcript or "") if self.text else "a b"))


def test_score_measures_what_needs_no_text_where_there_is_none(folder: Path, tmp_path: Path) -> None:
    words = Words("words", "Words", "down", "", 0.0, 100.0, "1", 1)
    metrics = [words, replace(words, name="dwords", text=False)]
    run = evalkit.score(folder, folder, metrics=metrics, output=tmp_path / "run", name="mine")
    assert set(run.rows["metric"]) == {"dwords"} and run.rows["value"].eq(3).all()
    assert list(run.provenance.notes) == ["mine has no transcripts: dwords was measured instead of words."]
    paths = sorted(map(str, folder.iterdir()))
    frame = pd.DataFrame({"utterance": ["a"], "reference": paths[:1], "decoded": paths[:1], "transcript": ["four"]})
    run = evalkit.score(manifest=frame, metrics=metrics, output=tmp_path / "with-text")
    assert set(run.rows["metric"]) == {"words", "dwords"} and run.rows.query("metric == 'words'")["value"].item() == 4


def test_score_asks_for_the_model_of_dcer_where_cer_has_no_text(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(MissingError, match=r"\n  dcer-mms: needs "):
        evalkit.score(folder, folder, metrics="cer-mms", output=tmp_path / "run")


def test_a_manifest_may_be_a_frame(folder: Path, tmp_path: Path) -> None:
    paths = sorted(folder.iterdir())
    frame = pd.DataFrame({"utterance": ["a", "b"], "reference": paths[:2], "decoded": paths[1:], "accent": "Scots"})
    run = evalkit.score(manifest=frame, metrics="si-sdr", output=tmp_path / "run", name="mine")
    assert list(run.rows["accent"]) == ["Scots"] * 2 and run.provenance.dataset.name == "mine"


def test_codecs_and_listings(speech: np.ndarray) -> None:
    codec = evalkit.load_codec("opus@6k")
    assert codec.decode(codec.encode(np.zeros(4800, np.float32))).shape == (4800,)
    assert "opus@6k" in set(evalkit.list_codecs()["codec"]) and "pesq-wb" in set(evalkit.list_metrics()["metric"])
    with pytest.raises(UsageError, match="lacks codebook_sizes, decode"):
        evalkit.load_codec(object())
