"""What each condition does to audio, codes and codec, and what a run under conditions writes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import evalkit
from evalkit import plugins
from evalkit.audio import Audio, Wave
from evalkit.cli import main
from evalkit.codecs import Codes
from evalkit.conditions import load_condition, load_conditions
from evalkit.conditions.base import Condition
from evalkit.conditions.transmission import Loss
from evalkit.datasets import load_dataset
from evalkit.errors import AudioError, UsageError
from evalkit.metrics.token_stability import edit_distance
from evalkit.results.run import read_run

from .conftest import HOP, RATE, Levels

EXAMPLES = {
    "noise": "noise:10", "gain": "gain:-6", "speed": "speed:1.1", "shift": "shift:80", "tandem": "tandem:2",
    "loss": "loss:10", "bit-errors": "bit-errors:0.01", "codebooks": "codebooks:1",
}  # fmt: skip
"""Of the conditions that do not go without an option."""


def spec(name: str) -> str:
    return EXAMPLES.get(name, name)


def degraded(condition: Condition, wav: Wave, seed: int = 0) -> Wave:
    audio = Audio(wav, RATE)
    return condition.degrade(audio, condition.generator(seed, audio.pcm_hash()), "u0").wav


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", plugins.names("condition"))
def test_a_name_gives_the_condition_again(name: str) -> None:
    condition = load_condition(spec(name))
    assert condition.kind == name and load_condition(condition.name) == condition
    assert condition.about.endswith(".") and condition.usage().startswith(name)


def test_a_name_says_the_first_option_and_what_differs_from_the_default() -> None:
    assert load_condition("noise:10,type=white").name == "noise:snr=10"
    assert load_condition("loss:5,burst=2.5").name == "loss:percent=5,burst=2.5"
    assert load_condition("clean").name == "clean"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nois:10", "unknown condition 'nois'. Did you mean 'noise'"),
        ("noise", r"'noise' needs snr=…: write noise:snr=…\[,type=white\]\[,reference=input\]"),
        ("noise:loud", "snr must be a number, not 'loud'"),
        ("noise:nan", "snr must be a finite number"),
        ("noise:10,volume=3", "unknown option of the condition noise 'volume'"),
        ("noise:10,reference=both", "reference must be input or clean"),
        ("clean:5", "clean takes no options"),
        ("tandem:1", "n must be 2 or more"),
        ("tandem:2.5", "n must be a whole number"),
        ("loss:60", "burst is too short"),
        ("shift:0", "samples must be 1 or more"),
    ],
)
def test_a_wrong_name_is_refused_with_what_is_right(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_condition(text)


def test_a_condition_that_comes_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="noise:snr=10 is given twice"):
        load_conditions(["noise:10", "noise:snr=10"])


# --- audio -------------------------------------------------------------------------------------------------------


@given(snr=st.floats(-10, 50), seed=st.integers(0, 9))
def test_noise_has_the_ratio_that_it_is_asked_for(snr: float, seed: int) -> None:
    wav = (0.1 * np.sin(np.arange(RATE) / 20)).astype(np.float32)
    noise = degraded(load_condition(f"noise:{snr}"), wav, seed).astype(np.float64) - wav
    assert 10 * np.log10(np.mean(wav.astype(np.float64) ** 2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.05)


def test_levels_of_noise_differ_in_the_level_alone(speech: np.ndarray) -> None:
    soft, loud = (degraded(load_condition(f"noise:{snr}"), speech) - speech for snr in (20, 0))
    assert np.allclose(10 * soft, loud, atol=1e-5)


def test_babble_is_of_the_others(data: str) -> None:
    dataset = load_dataset(data)
    condition = load_condition("noise:0,type=babble").bind(dataset)
    first = dataset.utterances[0].audio()
    noisy = condition.degrade(first, condition.generator(0, ""), "u0").wav
    others = [one.audio().wav for one in dataset.utterances[1:]]
    noise = noisy - first.wav
    spectrum = np.abs(np.fft.rfft(noise))
    assert all(np.corrcoef(spectrum, np.abs(np.fft.rfft(wav)))[0, 1] > 0.5 for wav in others)


def test_noise_needs_speech(data: str) -> None:
    with pytest.raises(AudioError, match="silent"):
        degraded(load_condition("noise:10"), np.zeros(RATE, np.float32))
    with pytest.raises(UsageError, match="neither white, babble nor a folder"):
        load_condition("noise:10,type=/nowhere").bind(load_dataset(data))


def test_reverberation_needs_responses_with_sound(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder of audio"):
        load_condition(f"reverb:folder={tmp_path}")
    soundfile.write(tmp_path / "r.wav", np.zeros(100), RATE)
    with pytest.raises(AudioError, match="the impulse response is silent"):
        degraded(load_condition(f"reverb:folder={tmp_path}"), np.ones(RATE, np.float32))


def test_reverberation_decays_as_it_says() -> None:
    click = np.zeros(2 * RATE, np.float32)
    click[0] = 1
    wet = degraded(load_condition("reverb:0.5"), click).astype(np.float64)
    decay = 10 * np.log10(np.cumsum(wet[::-1] ** 2)[::-1])  # Schroeder's integral
    tail = decay[1:] - decay[1]
    reached = [int(np.argmax(tail < level)) for level in (-5, -35)]
    assert 2 * (reached[1] - reached[0]) / RATE == pytest.approx(0.5, rel=0.1)
    assert np.argmax(np.abs(wet)) == 0


def test_gain_clipping_band_speed_and_pause(speech: np.ndarray) -> None:
    assert np.allclose(degraded(load_condition("gain:-6.0206"), speech), speech / 2, rtol=1e-4)
    clipped = degraded(load_condition("clip:12"), speech)
    assert np.abs(clipped).max() == pytest.approx(np.abs(speech).max() / 10**0.6, rel=1e-4)
    spectrum = np.abs(np.fft.rfft(degraded(load_condition("band:8000"), speech)))
    hertz = np.fft.rfftfreq(len(speech), 1 / RATE)
    assert spectrum[hertz > 4_200].max() < 0.01 * spectrum.max()
    assert len(degraded(load_condition("speed:2"), speech)) == pytest.approx(len(speech) / 2, abs=2)
    assert len(degraded(load_condition("silence:0.5"), speech)) == len(speech) + RATE // 2
    assert np.array_equal(degraded(load_condition("crop:0.5"), speech), speech[RATE // 2 :])


def test_another_speaker_follows(data: str) -> None:
    dataset = load_dataset(data)
    condition = load_condition("concat").bind(dataset)
    first, last = dataset.utterances[0].audio(), dataset.utterances[2].audio()
    both = condition.degrade(first, condition.generator(0, ""), "u0").wav
    assert len(both) == len(first.wav) + len(last.wav) and not condition.keeps_text


# --- codes and codec ---------------------------------------------------------------------------------------------


class InBatches(Levels):
    """Takes batches; `leaky`, a recording is quieter beside others."""

    batch_equal = True

    def __init__(self, leaky: bool = False) -> None:
        self.leaky, self.sizes = leaky, list[list[int]]()

    def encode_batch(self, wavs: Sequence[Wave]) -> list[Codes]:
        self.sizes.append([len(wav) for wav in wavs])
        return [self.encode(wav * np.float32(0.5) if self.leaky else wav) for wav in wavs]

    def decode_batch(self, codes: Sequence[Codes]) -> list[Wave]:
        self.sizes.append([one.length for one in codes])
        return [self.decode(one) for one in codes]


@pytest.mark.parametrize("name", plugins.names("condition"))
def test_a_wrapped_codec_keeps_the_protocol(name: str, speech: np.ndarray) -> None:
    from evalkit.codecs import Codec
    from evalkit.pipeline.coders import reconstruct

    used = load_condition(spec(name)).wrap(InBatches(), 0)
    assert isinstance(used, Codec)
    for length in (1, HOP, HOP + 1, RATE):
        codes, wav = reconstruct(used, speech[:length], 0, 0)
        again, same = reconstruct(used, speech[:length], 0, 0)
        assert len(wav) == length and np.array_equal(wav, same) and np.array_equal(codes.indices, again.indices)


def test_a_shift_by_whole_hops_moves_the_codes(codec: Levels, speech: np.ndarray) -> None:
    clean = codec.encode(speech).indices
    moved = load_condition(f"shift:{3 * HOP}").wrap(codec, 0).encode(speech).indices
    assert clean is not None and moved is not None and np.array_equal(moved[:, 3:], clean)


def test_tandem_is_coding_again(codec: Levels, speech: np.ndarray) -> None:
    third = load_condition("tandem:3").wrap(codec, 0).encode(speech)
    wav = speech
    for _ in range(2):
        wav = codec.decode(codec.encode(wav))
    assert np.array_equal(third.indices, codec.encode(wav).indices)
    through = load_condition("tandem:through=pcm").wrap(codec, 0).encode(speech)
    assert np.array_equal(through.indices, codec.encode(speech).indices)


@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_losses_have_the_share_and_the_length_that_they_say(burst: float) -> None:
    lost = Loss(percent=10.0, burst=burst).lost(200_000, np.random.default_rng(0))
    starts = np.flatnonzero(np.diff(lost.astype(int)) == 1)
    assert lost.mean() == pytest.approx(0.1, rel=0.05)
    assert lost.sum() / len(starts) == pytest.approx(burst if burst > 1 else 1 / 0.9, rel=0.05)


def test_losses_of_a_higher_rate_hold_those_of_a_lower_one() -> None:
    few, many = (Loss(percent=p).lost(1000, np.random.default_rng(1)) for p in (5.0, 20.0))
    assert many[few].all() and many.sum() > few.sum()


def test_lost_frames_are_repeated_or_zero(codec: Levels) -> None:
    codes = Codes(10 * HOP, np.tile(np.arange(10), (2, 1)), (16, 16))
    given: list[np.ndarray] = []

    class Spy(Levels):
        def decode(self, codes: Codes) -> Wave:
            assert codes.indices is not None
            given.append(codes.indices[0])
            return super().decode(codes)

    for conceal in ("repeat", "zero"):
        condition = load_condition(f"loss:50,burst=2,conceal={conceal}")
        condition.wrap(Spy(), 0).decode(codes)
    repeated, zero = given
    lost = zero != np.arange(10)
    assert lost.any() and not zero[lost].any()
    kept = np.flatnonzero(~lost)
    expected = [kept[kept <= n].max(initial=0) for n in range(10)]
    assert repeated.tolist() == expected


def test_bits_are_wrong_as_often_as_it_says() -> None:
    condition = load_condition("bit-errors:0.1")
    codes = Codes(0, np.zeros((2, 50_000), np.int64), (16, 16))
    wrong: list[np.ndarray] = []

    class Spy(Levels):
        def decode(self, codes: Codes) -> Wave:
            assert codes.indices is not None
            wrong.append(codes.indices)
            return np.zeros(0, np.float32)

    condition.wrap(Spy(), 0).decode(codes)
    assert np.unpackbits(wrong[0].astype(np.uint8)).sum() / wrong[0].size / 4 == pytest.approx(0.1, rel=0.05)


def test_a_batch_pads_the_recording_and_shows_a_codec_that_mixes_them(speech: Wave) -> None:
    alone, honest, leaky = Levels().encode(speech), InBatches(), InBatches(leaky=True)
    codec = load_condition("batch").wrap(honest, 0)
    codes = codec.encode(speech)
    assert np.array_equal(codes.indices, alone.indices) and np.array_equal(codec.decode(codes), honest.decode(alone))
    assert honest.sizes == [[len(speech) * count for count in (1, 2, 3)]] * 2
    assert not np.array_equal(load_condition("batch:2").wrap(leaky, 0).encode(speech).indices, alone.indices)


def test_what_makes_no_sense_for_a_codec_is_refused() -> None:
    opus = plugins.load("codec", "pcm").build("float32")
    for text, message in (
        ("codebooks:1", "needs all codebooks"),
        ("loss:5,conceal=zero", "has no codebooks"),
        ("loss:5,conceal=own", "no loss concealment"),
        ("pad", "no sampling rate of its own"),
        ("batch", "takes one recording at a time"),
    ):
        with pytest.raises(UsageError, match=message):
            load_condition(text).wrap(opus, 0)


# --- runs --------------------------------------------------------------------------------------------------------

CONDITIONS = ["clean", "gain:-6", "noise:10,reference=clean", f"shift:{HOP}", "tandem:2", "again", "concat"]


def test_a_run_under_conditions(codec: Levels, data: str, tmp_path: Path) -> None:
    run = evalkit.run(
        codec, data, "mel-2048-80-ln1p,bitrate,token-match,token-edit", tmp_path / "run", conditions=CONDITIONS
    )
    names = [load_condition(one).name for one in CONDITIONS]
    assert list(run.rows["condition"].unique()) == names == list(run.provenance.conditions)
    assert run.provenance.conditions["gain:db=-6"].reference == "input"
    match = run.rows[run.rows["metric"] == "token-match"].groupby("condition")["value"].mean()
    assert match["again"] == match[f"shift:samples={HOP}"] == match["tandem:n=2"] == 1.0
    assert match["noise:snr=10,reference=clean"] < 1 and "clean" not in match and "concat" not in match
    assert any("concat" in note for note in run.provenance.notes)
    bits = run.rows[run.rows["metric"] == "bitrate"].set_index("condition")["value"]
    assert set(bits.index) == set(names) and bits["clean"] == pytest.approx(800, rel=0.01)
    assert len(run.references) == 3 and run.rows["reason"].isna().all()
    again = evalkit.run(
        codec, data, "mel-2048-80-ln1p,bitrate,token-match,token-edit", tmp_path / "again", conditions=CONDITIONS,
        cache=False,
    )  # fmt: skip
    assert (run.path / "rows.parquet").read_bytes() == (again.path / "rows.parquet").read_bytes()


def test_shards_under_conditions_merge_to_the_same_bytes(codec: Levels, data: str, tmp_path: Path) -> None:
    from evalkit.pipeline.merge import merge

    metrics, conditions = "mel-2048-80-ln1p,bitrate,token-match", ["gain:-6", "tandem:2"]
    whole = evalkit.run(codec, data, metrics, tmp_path / "whole", conditions=conditions)
    parts = [
        evalkit.run(codec, data, metrics, tmp_path / str(i), conditions=conditions, shard=f"{i}/2").path for i in (1, 2)
    ]
    merge(parts, tmp_path / "merged")
    for file in ("rows.parquet", "codes.parquet"):
        assert (tmp_path / "merged" / file).read_bytes() == (whole.path / file).read_bytes()


def test_tables_gates_and_pages_take_each_condition_for_itself(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--codec", "pcm", "--dataset", data, "--metrics", "mel-2048-80-ln1p", "--condition", "clean"]
    assert (
        main([*command, "--condition", "noise:0,reference=clean", "--output", str(tmp_path / "run"), "--save-audio"])
        == 0
    )
    said = capsys.readouterr().out
    assert "data (noise:snr=0,reference=clean)" in said
    rows = read_run(tmp_path / "run").rows
    clean, noisy = (part["value"].mean() for _, part in rows.groupby("condition", sort=False))
    assert clean == 0 and noisy > 0.1
    baseline = str(tmp_path / "baseline.json")
    assert main(["gate", str(tmp_path / "run"), "--update", "--baseline", baseline]) == 0
    assert "pcm@float32 (noise:snr=0,reference=clean)" in Path(baseline).read_text()
    assert main(["report", str(tmp_path / "run"), "--output", str(tmp_path / "page.html")]) == 0


def test_rows_of_earlier_versions_are_clean(codec: Levels, data: str, tmp_path: Path) -> None:
    import pandas as pd

    run = evalkit.run(codec, data, "mel-2048-80-ln1p", tmp_path / "run")
    pd.read_parquet(run.path / "rows.parquet").drop(columns="condition").to_parquet(run.path / "rows.parquet")
    assert set(read_run(run.path).rows["condition"]) == {"clean"}


def test_a_manifest_may_name_conditions(data: str, tmp_path: Path) -> None:
    folder = Path(data.partition(":")[2])
    manifest = tmp_path / "pairs.csv"
    lines = [f"u{n},{folder}/{n}.wav,{folder}/{n}.wav,{'noisy' if n else ''}" for n in range(3)]
    manifest.write_text("\n".join(["utterance,reference,decoded,condition", *lines]) + "\n")
    run = evalkit.score(manifest=manifest, metrics="mel-2048-80-ln1p", output=tmp_path / "run")
    assert run.rows.set_index("utterance")["condition"].to_dict() == {"u0": "clean", "u1": "noisy", "u2": "noisy"}


def test_audio_decoded_elsewhere_has_no_condition(data: str, tmp_path: Path) -> None:
    folder = data.partition(":")[2]
    with pytest.raises(UsageError, match="conditions do not apply to audio decoded elsewhere"):
        evalkit.run("ts3", data, "mel-2048-80-ln1p", tmp_path, rendered=[f"ts3={folder}"], conditions=["gain:-6"])


def test_token_metrics_need_a_condition(codec: Levels, data: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="add a condition"):
        evalkit.run(codec, data, "token-match", tmp_path / "run")


def test_a_condition_that_fails_costs_its_utterances(codec: Levels, data: str, tmp_path: Path) -> None:
    class Broken(Condition):
        kind = "broken"
        about = "It fails."

        def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
            raise KeyError("no")

    run = evalkit.run(codec, data, "mel-2048-80-ln1p", tmp_path / "run", conditions=["clean", Broken()])
    reasons = run.rows.set_index("condition")["reason"]
    assert reasons["clean"].isna().all()
    assert (reasons["broken"] == "the condition broken failed: KeyError: 'no'").all()


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_edit_distance_is_levenshtein(a: list[int], b: list[int]) -> None:
    """Beside the textbook's recursion."""
    table = {(0, j): j for j in range(len(b) + 1)} | {(i, 0): i for i in range(len(a) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
    assert edit_distance(np.array(a, np.int64), np.array(b, np.int64)) == table[len(a), len(b)]


def test_nothing_that_arrives_is_silence(codec: Levels, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loss, "lost", lambda self, count, rng: np.ones(count, bool))
    used = load_condition("loss:percent=90,burst=10").wrap(codec, 0)
    assert not np.any(used.decode(used.encode(speech[:800])))


@pytest.mark.parametrize("name", ["robust", "tandem", "stability"])
def test_suites_name_conditions_that_there_are(name: str) -> None:
    from evalkit.pipeline.suites import load_suite

    suite = load_suite(name)
    assert [one.name for one in load_conditions(suite.conditions)] == list(suite.conditions)
