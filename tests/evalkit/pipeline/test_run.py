"""One path for `run` and `score`: what holds for a run holds for decoded files, and one bad thing costs one row."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import evalkit
from evalkit.audio import Audio, Wave
from evalkit.cli import main
from evalkit.codecs import Codes
from evalkit.datasets.base import Dataset, Utterance
from evalkit.errors import AudioError, FailFastError, UndefinedScore, UsageError
from evalkit.files import slug
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.model import ModelMetric, Scorer
from evalkit.pipeline.run import RunLoop
from evalkit.results import lock
from evalkit.results.rows import CORPUS
from evalkit.results.run import read_run
from evalkit.soundfiles import read

RATE = 16_000
CHEAP = "si-sdr,mel-2048-80-ln1p"


def write(folder: Path, names: str, wav: Wave, gain: float = 1.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        soundfile.write(folder / f"{name}.wav", gain * wav[number * 4000 :][:RATE], RATE, subtype="FLOAT")
    return folder


@pytest.fixture
def folder(tmp_path: Path, speech: np.ndarray) -> Path:
    return write(tmp_path / "data", "abc", speech)


# --- decoded files are a run -------------------------------------------------------------------------------------


def test_a_scored_run_says_what_a_run_says(folder: Path, tmp_path: Path, speech: np.ndarray) -> None:
    decoded = write(tmp_path / "theirs", "abc", speech, 0.9)
    run = evalkit.score(folder, decoded, metrics=CHEAP, output=tmp_path / "run", seed=3, batch=2)
    about = run.provenance
    assert (about.seed, about.device, about.batch) == (3, "cpu", 2) and about.dataset.n == 3
    assert about.dataset.audio_sha256 and len(run.references) == 3
    again = evalkit.score(folder, decoded, metrics=CHEAP, output=tmp_path / "again", cache=False)
    assert again.provenance.dataset.audio_sha256 == about.dataset.audio_sha256
    assert (tmp_path / "run" / "rows.parquet").read_bytes() == (tmp_path / "again" / "rows.parquet").read_bytes()


def test_other_audio_under_the_same_names_is_refused_by_gate_and_table(tmp_path: Path, speech: np.ndarray) -> None:
    for name, wav in (("one", speech), ("two", speech[::-1].copy())):
        reference, decoded = (
            write(tmp_path / name / "ref", "abcdef", wav),
            write(tmp_path / name / "dec", "abcdef", wav, 0.5),
        )
        command = ["score", "--reference", str(reference), "--decoded", str(decoded), "--metrics", "mel-2048-80-ln1p"]
        assert main([*command, "--output", str(tmp_path / f"run-{name}")]) == 0
    baseline = str(tmp_path / "baseline.json")
    assert main(["gate", str(tmp_path / "run-one"), "--update", "--baseline", baseline]) == 0
    assert main(["gate", str(tmp_path / "run-two"), "--baseline", baseline]) == 2
    with pytest.raises(UsageError, match="different audio under the same ids"):
        evalkit.load_run(tmp_path / "run-one").table(evalkit.load_run(tmp_path / "run-two"))


def test_nan_in_a_baseline_is_refused(folder: Path, tmp_path: Path) -> None:
    run = evalkit.run("pcm", f"folder:{folder}", "mel-2048-80-ln1p", tmp_path / "run")
    baseline = tmp_path / "baseline.json"
    assert main(["gate", str(run.path), "--update", "--baseline", str(baseline)]) == 0
    about = json.loads(baseline.read_text())
    about["values"]["pcm@float32"]["mel-2048-80-ln1p"]["a"] = float("nan")
    baseline.write_text(json.dumps(about))
    assert main(["gate", str(run.path), "--baseline", str(baseline)]) == 2


def test_a_missing_decoded_file_has_a_row_for_each_metric(folder: Path, tmp_path: Path, speech: np.ndarray) -> None:
    decoded = write(tmp_path / "theirs", "ab", speech)
    run = evalkit.score(folder, decoded, metrics=CHEAP, output=tmp_path / "run")
    lost = run.rows[run.rows["utterance"] == "c"]
    assert sorted(lost["metric"]) == sorted(CHEAP.split(",")) and lost["value"].isna().all()
    assert lost["reason"].str.contains("there is no decoded file for").all()


def test_shards_of_two_devices_are_not_one_run(folder: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        output = tmp_path / str(number)
        evalkit.run("pcm", f"folder:{folder}", "si-sdr", output, shard=f"{number}/2")
        about = json.loads((output / "run.json").read_text())
        (output / "run.json").write_text(json.dumps(about | {"device": "cuda" if number == 2 else "cpu"}))
    assert main(["merge", str(tmp_path / "1"), str(tmp_path / "2"), "--output", str(tmp_path / "m")]) == 2


def test_a_shard_without_its_codes_is_refused(folder: Path, tmp_path: Path, capsys: Any) -> None:
    for number in (1, 2):
        evalkit.run("opus@6k", f"folder:{folder}", "bitrate,si-sdr", tmp_path / str(number), shard=f"{number}/2")
    merge = ["merge", str(tmp_path / "1"), str(tmp_path / "2"), "--output", str(tmp_path / "m")]
    codes = tmp_path / "1" / "codes.parquet"
    table = pq.read_table(codes)
    pq.write_table(table.slice(1), codes)
    assert main(merge) == 2 and "lacks the codes of 1 of 2 utterances, such as" in capsys.readouterr().err
    pq.write_table(table, codes)
    (tmp_path / "2" / "codes.parquet").unlink()
    assert main(merge) == 2 and "lacks the codes of 1 of 1 utterances" in capsys.readouterr().err


# --- codecs and metrics of others --------------------------------------------------------------------------------


class Bad:
    """A codec that does for each utterance what `does` says."""

    sample_rate: int | None = RATE
    frame_rate: float | None = None
    streaming = True
    details: dict[str, object] = {}  # noqa: RUF012

    def __init__(self, name: str, codes: Any = None, wav: Any = None, sizes: tuple[int, ...] = (16,)) -> None:
        self.name, self._codes, self._wav, self.codebook_sizes = name, codes, wav, sizes

    def encode(self, wav: Wave) -> Codes:
        return self._codes(wav) if self._codes else good(wav)

    def decode(self, codes: Codes) -> Wave:
        return self._wav(codes.length) if self._wav else np.zeros(codes.length, np.float32)


def good(wav: Wave) -> Codes:
    return Codes(len(wav), np.zeros((1, 4), np.int64), (16,))


def codes_of(indices: Any, **more: Any) -> Any:
    return lambda wav: Codes(len(wav), indices, (16,), **more)


def leave(*_: object) -> None:
    sys.exit(0)


BAD = {
    "no-codes": Bad("no-codes", lambda wav: None),
    "float-indices": Bad("float-indices", codes_of(np.zeros((1, 4)))),
    "beyond": Bad("beyond", codes_of(np.full((1, 4), 16))),
    "below": Bad("below", codes_of(np.full((1, 4), -1))),
    "flat": Bad("flat", lambda wav: Codes(len(wav), np.zeros(1, np.int64), (16,))),
    "no-indices": Bad("no-indices", lambda wav: Codes(len(wav), payload=(b"a",), payload_bits=8)),
    "negative-bits": Bad("negative-bits", lambda wav: Codes(len(wav), payload=(b"",), payload_bits=-8), sizes=()),
    "wrong-length": Bad("wrong-length", lambda wav: Codes(5, np.zeros((1, 4), np.int64), (16,))),
    "none": Bad("none", wav=lambda n: None),
    "float64": Bad("float64", wav=lambda n: np.zeros(n)),
    "float16": Bad("float16", wav=lambda n: np.zeros(n, np.float16)),
    "two-d": Bad("two-d", wav=lambda n: np.zeros((n, 1), np.float32)),
    "short": Bad("short", wav=lambda n: np.zeros(n - 1, np.float32)),
    "nan": Bad("nan", wav=lambda n: np.full(n, np.nan, np.float32)),
    "raises": Bad("raises", wav=lambda n: 1 / 0),
    "leaves": Bad("leaves", leave),
    "ends": Bad("ends", lambda wav: os._exit(0)),
    "sleeps": Bad("sleeps", lambda wav: time.sleep(60)),
}


def test_what_a_codec_does_wrong_costs_its_own_rows(folder: Path, tmp_path: Path) -> None:
    run = evalkit.run([*BAD.values(), "pcm"], f"folder:{folder}", "si-sdr", tmp_path / "run", timeout=0.5)
    rows = run.rows[run.rows["utterance"] != "*"]
    assert len(rows) == 3 * (len(BAD) + 1)
    bad = rows[rows["codec"].isin(list(BAD))]
    assert bad["value"].isna().all() and bad["reason"].str.match(r".+ failed: .+").all()
    reasons = bad.drop_duplicates("codec").set_index("codec")["reason"]
    for name, part in {
        "no-codes": "encode returned None; it must be evalkit.codecs.Codes",
        "beyond": "indices from 16 to 16 for codebook 1, which has 16 entries",
        "no-indices": "no indices, though the codec declares 1 codebook",
        "negative-bits": "payload_bits = -8",
        "float64": "decode returned a float64 array",
        "short": "samples for 16000",
        "leaves": "SystemExit: 0",
        "ends": "SystemExit: 0",
        "sleeps": "took longer than 0.5 s",
    }.items():
        assert part in reasons[name], (name, reasons[name])
    assert rows.loc[rows["codec"] == "pcm@float32", "value"].notna().all()
    errors = (run.path / "errors.txt").read_text()
    assert "ZeroDivisionError" in errors and errors.count("ZeroDivisionError: division by zero") == 1


class Fickle(Bad):
    """Says what it is called until it has encoded something."""

    encoded = False

    @property
    def name(self) -> str:  # type: ignore[override]
        if self.encoded:
            raise RuntimeError("it has no name any more")
        return "fickle"

    @name.setter
    def name(self, value: str) -> None: ...

    def encode(self, wav: Wave) -> Codes:
        self.encoded = True
        return good(wav)


def test_what_a_codec_says_of_itself_is_read_once(folder: Path, tmp_path: Path) -> None:
    metric = "mel-2048-80-ln1p"
    rows = evalkit.run([Fickle("fickle"), "pcm"], f"folder:{folder}", metric, tmp_path / "run").rows
    assert len(rows) == 6 and rows["value"].notna().all()


def test_a_codec_that_changes_its_input_changes_no_reference(folder: Path, tmp_path: Path) -> None:
    def silence(wav: Wave) -> Codes:
        wav[:] = 0
        return good(wav)

    run = evalkit.run(Bad("vandal", silence), f"folder:{folder}", "mel-2048-80-ln1p", tmp_path / "run")
    assert (run.rows["value"] > 0.5).all(), "silence does not score as if nothing had been lost"


class Reuses(Bad):
    """Copies what it gets, in memory that it uses again for the next utterance; and counts them in its codes."""

    def __init__(self) -> None:
        super().__init__("reuses")
        self._indices, self._buffer = np.zeros((1, 4), np.int64), np.zeros(RATE, np.float32)

    def encode(self, wav: Wave) -> Codes:
        self._indices += 1
        self._buffer[:] = wav
        return Codes(len(wav), self._indices, (16,))

    def decode(self, codes: Codes) -> Wave:
        return self._buffer


class Declares(Bad):
    """Says of itself what it computed with numpy."""

    sample_rate, frame_rate = np.int64(RATE), np.float64(4)  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("declares", sizes=tuple(np.array([16])))


def test_a_codec_may_declare_numbers_of_numpy(folder: Path, tmp_path: Path, own_cache: Path) -> None:
    first, again = (evalkit.run(Declares(), f"folder:{folder}", CHEAP, tmp_path / name) for name in "ab")
    assert first.rows["value"].notna().any() and again.rows.equals(first.rows)
    about = json.loads((tmp_path / "a" / "run.json").read_text())["codecs"]["declares"]
    assert (about["sample_rate"], about["frame_rate"], about["codebook_sizes"]) == (RATE, 4.0, [16])


_BUFFER = np.zeros(RATE, np.float32)


def fetched(path: Path) -> Audio:
    """The audio of `path`, in memory that is used again for the next one."""
    _BUFFER[:] = read(path).wav
    return Audio(_BUFFER, RATE)


@pytest.mark.parametrize("jobs", [1, 2])
def test_memory_that_a_codec_or_a_dataset_uses_again_changes_no_score(jobs: int, folder: Path, tmp_path: Path) -> None:
    data = Dataset("mine", tuple(Utterance(p.stem, partial(fetched, p)) for p in sorted(folder.iterdir())), "x", "1")
    run = evalkit.run([Reuses(), "pcm"], data, "mel-2048-80-ln1p", tmp_path / "run", jobs=jobs)
    values = run.rows.loc[run.rows["utterance"] != CORPUS, "value"]
    assert len(values) == 6 and (values < 1e-6).all(), "every copy is perfect"
    assert [codes[0][0] for codes in run.codes.query("codec == 'reuses'")["indices"]] == [1, 2, 3]


class Dithers(Bad):
    """Adds noise from numpy's global generator."""

    def __init__(self) -> None:
        super().__init__("dithers")

    def decode(self, codes: Codes) -> Wave:
        return np.random.standard_normal(codes.length).astype(np.float32)


def test_what_a_codec_draws_depends_on_seed_and_utterance_alone(folder: Path, tmp_path: Path) -> None:
    def values(name: str, **options: Any) -> list[float]:
        rows = evalkit.run(Dithers(), f"folder:{folder}", "mel-2048-80-ln1p", tmp_path / name, **options).rows
        return rows["value"].tolist()

    whole = values("whole")
    assert len(set(whole)) == 3 and values("uncached", cache=False) == whole
    parts = [*values("one", cache=False, shard="1/2"), *values("two", cache=False, shard="2/2")]
    assert sorted(parts) == sorted(whole)
    assert not set(values("other", seed=1)) & set(whole), "nor does the cache take one seed for another"


@dataclass(frozen=True)
class Odd(PairMetric):
    """Returns, raises or does what `does` says."""

    does: Any = None

    def score(self, pair: Pair) -> float:
        return self.does(pair)


def odd(name: str, does: Any) -> Odd:
    return Odd(name, name, "up", "", 0.0, 1.0, "1", 3, does)


def undefined(pair: Pair) -> float:
    raise UndefinedScore("")


def change(pair: Pair) -> float:
    pair.reference[:] = 0
    return 1.0


def close(pair: Pair) -> float:
    sys.stderr.close()
    os.close(2)
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    return 1.0


def noisy(pair: Pair) -> np.float32:
    sys.stderr.write("noise")
    os.write(2, b"noise")
    return np.float32(0.5)


def test_what_a_metric_does_wrong_costs_its_own_rows(folder: Path, tmp_path: Path) -> None:
    metrics = [
        odd("odd-none", lambda pair: None), odd("odd-true", lambda pair: True), odd("odd-complex", lambda pair: 1j),
        odd("odd-array", lambda pair: np.zeros(2)), odd("odd-nan", lambda pair: float("nan")),
        odd("odd-undefined", undefined), odd("odd-change", change), odd("odd-leave", leave),
        odd("odd-end", lambda pair: os._exit(0)), odd("odd-kill", lambda pair: os.kill(os.getpid(), signal.SIGKILL)),
        odd("odd-sleep", lambda pair: time.sleep(60)), odd("odd-close", close), odd("odd-good", noisy), "si-sdr",
    ]  # fmt: skip
    run = evalkit.run("pcm", f"folder:{folder}", metrics, tmp_path / "run", timeout=2)
    rows = run.rows.set_index(["metric", "utterance"])
    assert len(rows) == 3 * len(metrics)
    assert (rows.loc["odd-good", "value"] == 0.5).all() and (rows.loc["si-sdr", "value"] == 100).all()
    for name, reason in {
        "odd-none": "the metric returned a NoneType", "odd-true": "a bool", "odd-complex": "a complex",
        "odd-array": "of shape (2,)", "odd-nan": "the metric returned nan", "odd-undefined": "no reason was given",
        "odd-change": "read-only", "odd-leave": "SystemExit", "odd-end": "exited through os._exit",
        "odd-kill": "SIGKILL", "odd-sleep": "took longer than 2 s",
    }.items():  # fmt: skip
        assert rows.loc[name, "value"].isna().all() and rows.loc[name, "reason"].str.contains(reason, regex=False).all()


def gone(path: Path) -> Audio:
    return {}[path]  # type: ignore[index]


def test_a_dataset_that_raises_costs_its_own_utterance(folder: Path, tmp_path: Path) -> None:
    sources = [partial(gone, folder), Audio(np.zeros((9, 9), np.float32), RATE), folder / "a.wav"]
    data = Dataset("mine", tuple(Utterance(f"u{n}", one) for n, one in enumerate(sources)), "x", "1")
    rows = evalkit.run("pcm", data, "si-sdr", tmp_path / "run").rows.set_index("utterance")
    assert rows.loc[["u0", "u1"], "reason"].str.startswith("the dataset returned").all()
    assert rows.loc["u2", "value"] == 100


def test_audio_that_cannot_be_resampled_costs_its_own_utterance(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resample(wav: Wave, source: int, target: int) -> Wave:
        raise AudioError("no memory")

    codec = Bad("narrow")
    codec.sample_rate = 8_000
    monkeypatch.setattr("evalkit.audio.resample", resample)
    rows = evalkit.run(codec, f"folder:{folder}", "si-sdr", tmp_path / "run").rows
    assert len(rows) == 3 and rows["reason"].eq("no memory").all()


def test_what_is_longer_than_asked_for_costs_its_own_utterance(
    folder: Path, tmp_path: Path, speech: np.ndarray, capsys: Any
) -> None:
    """Whether it is read from a file, whose header says so, made in memory, or decoded elsewhere; cached or not."""
    soundfile.write(folder / "long.wav", np.tile(speech, 3)[: 2 * RATE], RATE, subtype="FLOAT")
    source = {"short": Audio(speech[:RATE], RATE), "long": Audio(np.tile(speech, 3)[: 2 * RATE], RATE)}
    sources = tuple(Utterance(name, partial(Audio.copy, audio)) for name, audio in source.items())
    common = {"metrics": CHEAP, "cache": tmp_path / "cache"}
    everything = evalkit.run("pcm", f"folder:{folder}", output=tmp_path / "all", **common)
    assert everything.rows["value"].notna().all()
    limited = {**common, "max_seconds": 1.5}
    runs = [
        evalkit.run("pcm", f"folder:{folder}", output=tmp_path / "file", **limited),
        evalkit.score(folder, folder, output=tmp_path / "scored", **limited),
        evalkit.run("pcm", Dataset("set", sources, "", ""), output=tmp_path / "memory", **limited),
    ]
    for run in runs:
        failed = run.rows[run.rows["value"].isna()]
        assert set(failed["utterance"]) == {"long"} and len(failed) == 2
        assert failed["reason"].str.contains("2 s long, more than --max-seconds 1.5").all()
    command = ["run", "--codec", "pcm", "--dataset", f"folder:{folder}", "--metrics", "si-sdr", "--max-seconds", "1.5"]
    assert main([*command, "--output", str(tmp_path / "by-command")]) == 4
    assert "long: si-sdr: 2 s long" in capsys.readouterr().err
    for limit in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="--max-seconds"):
            evalkit.run("pcm", f"folder:{folder}", output=tmp_path / "none", metrics=CHEAP, max_seconds=limit)


def test_fail_fast_stops_and_keeps_the_traceback(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FailFastError, match=r"division by zero .*errors\.txt"):
        evalkit.run(BAD["raises"], f"folder:{folder}", "si-sdr", tmp_path / "run", fail_fast=True)
    assert "ZeroDivisionError" in (tmp_path / "run" / "errors.txt").read_text()


def test_debug_prints_the_first_traceback_of_each_kind(folder: Path, tmp_path: Path, capsys: Any) -> None:
    evalkit.run(BAD["raises"], f"folder:{folder}", "si-sdr", tmp_path / "run", debug=True)
    assert capsys.readouterr().err.count("Traceback (most recent call last)") == 1


# --- do the pairs belong together? -------------------------------------------------------------------------------


def test_audio_that_does_not_belong_to_its_reference_is_named(tmp_path: Path, speech: np.ndarray) -> None:
    reference, late = write(tmp_path / "ref", "abc", speech), tmp_path / "late"
    late.mkdir()
    for path in reference.iterdir():
        wav = soundfile.read(path, dtype="float32")[0]
        soundfile.write(
            late / path.name, np.concatenate([np.zeros(320, np.float32), wav])[: len(wav)], RATE, subtype="FLOAT"
        )
    inverted, good = write(tmp_path / "inverted", "abc", speech, -1), write(tmp_path / "good", "abc", speech)
    run = evalkit.score(
        reference, [str(one) for one in (late, inverted, good)], metrics="estoi", output=tmp_path / "run"
    )
    said = dict(run.rows.drop_duplicates("codec")[["codec", "pairing"]].itertuples(index=False, name=None))
    assert said["late"] == "20.0 ms late" and said["inverted"] == "inverted"
    assert run.pairing.query("codec == 'good'")["problems"].eq("").all()
    assert any(note.startswith("late: 3 of 3 recordings differ") for note in run.provenance.notes)
    again = evalkit.score(reference, [str(late)], metrics="estoi", output=tmp_path / "again")
    assert again.rows["pairing"].eq("20.0 ms late").all(), "what the cache knows of pairs"
    aligned = evalkit.score(reference, [str(late)], metrics="estoi", output=tmp_path / "aligned", align=True)
    assert any("(--align)" in note for note in aligned.provenance.notes)
    assert aligned.provenance.align and aligned.rows["value"].min() > 0.99 > again.rows["value"].max()


class Loudness(Scorer):
    def infer(self, wavs: Any, language: str) -> Any:
        return [np.abs(wav).mean(keepdims=True) for wav in wavs]

    def score(self, metric: Any, pair: Pair) -> dict[str, float]:
        return {metric.name: float(self.features(pair.decoded)[0])}


@dataclass(frozen=True)
class WithModel(ModelMetric):
    """A metric that holds a model."""

    model = "loudness"

    def open(self, device: str) -> Scorer:
        return Loudness()


def test_metrics_without_a_model_are_scored_while_codecs_run(
    tmp_path: Path, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "data", "abcdefgh", speech)
    metric = WithModel("loud", "Loud", "up", "", 0.0, 1.0, "1", 3, files=(), packages=())
    events: list[str] = []
    record = RunLoop.record
    monkeypatch.setattr(
        RunLoop, "record", lambda loop, scores: (events.extend(one.metric for one in scores), record(loop, scores))[1]
    )

    def encode(wav: Wave) -> Codes:
        events.append("encode")
        return good(wav)

    run = evalkit.run(
        Bad("watched", encode), f"folder:{folder}", ["mel-2048-80-ln1p", metric], tmp_path / "run", jobs=1
    )
    assert run.rows["value"].notna().all() and len(run.rows) == 16
    last = len(events) - events[::-1].index("encode")
    assert "mel-2048-80-ln1p" in events[:last] and "loud" not in events[:last], events


# --- cache ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0.5, 0.001])
def test_a_cached_decoding_that_was_cut_is_made_anew(
    keep: float, folder: Path, tmp_path: Path, own_cache: Path
) -> None:
    expected = evalkit.run("opus@6k", f"folder:{folder}", "si-sdr", tmp_path / "one").rows
    for path in own_cache.rglob("*.wav"):
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
    assert (
        evalkit.run("opus@6k", f"folder:{folder}", CHEAP, tmp_path / "two")
        .rows.query("metric == 'si-sdr'")["value"]
        .tolist()
        == expected["value"].tolist()
    )


def test_without_a_usable_cache_a_run_goes_on(folder: Path, tmp_path: Path, own_cache: Path, capsys: Any) -> None:
    own_cache.mkdir()
    (own_cache / "cache.sqlite").write_bytes(b"no database" * 500)
    command = ["run", "--codec", "pcm", "--dataset", f"folder:{folder}", "--metrics", "si-sdr", "--output"]
    assert main([*command, str(tmp_path / "one")]) == 0
    assert "cannot be used" in capsys.readouterr().err
    assert main(["cache", "clear"]) == 0
    assert main([*command, str(tmp_path / "two")]) == 0 and "cannot be used" not in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/proc", "/proc/evalkit", "/dev/null/evalkit"])
def test_where_the_cache_cannot_be_written_a_run_goes_on(
    place: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    command = ["run", "--codec", "opus@6k", "--dataset", f"folder:{folder}", "--metrics", CHEAP, "--output"]
    assert main([*command, str(tmp_path / "one"), "--no-cache"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("EVALKIT_CACHE", place)
    assert main([*command, str(tmp_path / "two")]) == 0
    said = capsys.readouterr().err
    assert f"the cache in {place} cannot be used" in said and "EVALKIT_CACHE=FOLDER" in said, said
    assert (tmp_path / "one" / "rows.parquet").read_bytes() == (tmp_path / "two" / "rows.parquet").read_bytes()


def test_an_id_that_no_file_can_be_called_keeps_its_audio(folder: Path, tmp_path: Path) -> None:
    names = ["n" * 300, "n" * 300 + "o", "../up", "a/b"]
    data = Dataset("mine", tuple(Utterance(name, folder / "a.wav") for name in names), "x", "1")
    rows = evalkit.run("pcm", data, "si-sdr", tmp_path / "run", save_audio=True).rows
    assert sorted(rows["utterance"]) == sorted(names) and rows["value"].notna().all()
    saved = [path.relative_to(tmp_path / "run" / "audio") for path in (tmp_path / "run" / "audio").rglob("*.wav")]
    assert len(saved) == 2 * len(names) and all(len(path.parts) == 2 for path in saved)


# --- two at once, and the ways to start ----------------------------------------------------------------------------


def test_one_directory_has_one_writer(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    output.mkdir()
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[19]
    host = os.uname().nodename
    lock = output / "writing.lock"
    lock.write_text(json.dumps({"pid": owner.pid, "host": host, "started": started}))
    with pytest.raises(UsageError, match=f"is being written by process {owner.pid}"):
        evalkit.run("pcm", f"folder:{folder}", "si-sdr", output)
    owner.kill()
    owner.wait()
    assert evalkit.run("pcm", f"folder:{folder}", "si-sdr", output).provenance.state == "finished"
    assert not lock.exists()


def test_names_of_files_are_one_to_one() -> None:
    names = [
        "a",
        "A",
        "x/1",
        "x_1",
        "x.1",
        ".x",
        "x.",
        "é",
        "e\u0301",
        "a" * 300,
        "a" * 301,
        "con",
        "../x",
        "a b",
        "a\nb",
        slug("x/1"),
    ]
    files = [slug(name).lower() for name in names]
    assert len(set(files)) == len(names) and all("/" not in file and len(file) < 130 for file in files)
    assert not any(file.startswith(".") for file in files) and slug("opus@6k") == "opus@6k"


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_script_without_a_guard_runs(how: str, folder: Path, tmp_path: Path) -> None:
    code = (
        "import evalkit\n"
        f"run = evalkit.run('pcm', 'folder:{folder}', 'si-sdr', {str(tmp_path / 'run')!r})\n"
        "print(len(run.rows))\n"
    )
    (tmp_path / "script.py").write_text(code)
    command = [sys.executable, "-" if how == "stdin" else str(tmp_path / "script.py")]
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "3\n" and "Traceback" not in done.stderr, done.stderr


def test_threads_can_run_it(folder: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        outputs = [tmp_path / "one", tmp_path / "two"]
        runs = list(pool.map(lambda output: evalkit.run("pcm", f"folder:{folder}", "si-sdr", output), outputs))
    assert [run.rows["value"].notna().sum() for run in runs] == [3, 3]


def test_a_long_temporary_folder_is_no_obstacle(folder: Path, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    command = ["run", "--codec", "pcm", "--dataset", f"folder:{folder}", "--metrics", "si-sdr", "--output"]
    done = subprocess.run(
        [sys.executable, "-m", "evalkit", *command, str(tmp_path / "run")],
        env=os.environ | {"TMPDIR": str(long)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_run(tmp_path / "run").rows["value"].notna().all()


def test_seeds_that_numpy_does_not_take_are_refused(folder: Path, tmp_path: Path) -> None:
    for seed in (-1, 2**32):
        with pytest.raises(UsageError, match="the seed must be from 0"):
            evalkit.run("pcm", f"folder:{folder}", "si-sdr", tmp_path / "run", seed=seed)


def test_a_lock_that_was_left_over_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two runs that find it, the slower one does not remove the lock of the faster one. A lock without content may
    be about to be filled in."""
    path = tmp_path / lock.NAME
    path.write_text("")
    with lock.Lock(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
        lock.Lock(tmp_path)._remove(b"")
        assert json.loads(path.read_text())["pid"] == os.getpid()
        with pytest.raises(UsageError, match="is being written"), lock.Lock(tmp_path):
            pass
        content = path.read_text()
        path.write_text("")
        monkeypatch.setattr(lock.time, "sleep", lambda seconds: path.write_text(content))
        with pytest.raises(UsageError, match="is being written"), lock.Lock(tmp_path):
            pass
    assert not list(tmp_path.iterdir())
