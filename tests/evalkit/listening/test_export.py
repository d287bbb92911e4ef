"""What an exported test holds, beside the standards and another implementation of loudness."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from scipy.signal import freqz

from evalkit import testing
from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.listening.export import export
from evalkit.listening.kit import LOW, MIDDLE, REFERENCE, read_kit
from evalkit.listening.loudness import SAMPLE_RATE, loudness
from evalkit.listening.stimuli import CUTOFFS, low_passed, taps
from evalkit.results.run import Run

from .conftest import SYSTEMS


def test_loudness_is_that_of_ffmpeg() -> None:
    """Golden: the filter ebur128 of libavfilter, inside PyAV."""
    av = pytest.importorskip("av", reason="the independent implementation is in PyAV")
    voice = testing.speech(6.0, SAMPLE_RATE)
    voice[2 * SAMPLE_RATE : 3 * SAMPLE_RATE] *= 0.001  # for the gates
    graph = av.filter.Graph()
    source = graph.add_abuffer(format="dbl", sample_rate=SAMPLE_RATE, layout="mono", time_base="1/48000")
    meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    found = None
    for start in range(0, len(voice), 4800):
        frame = av.AudioFrame.from_ndarray(voice[None, start : start + 4800].astype(np.float64), "dbl", "mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        graph.push(frame)
        while True:
            try:
                metadata = dict(graph.pull().metadata)
            except (av.BlockingIOError, av.EOFError):
                break
            found = float(metadata.get("lavfi.r128.I", "nan"))
    assert found == pytest.approx(loudness(voice), abs=0.06)  # it tells one digit after the point


def test_loudness_of_the_standards_own_signal() -> None:
    """BS.1770-4, annex 1: a full-scale sine of 997 Hz in one channel has -3.01 LKFS."""
    sine = np.sin(2 * np.pi * 997 * np.arange(5 * SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    assert loudness(sine) == pytest.approx(-3.01, abs=0.01)
    assert loudness(sine / 10) == pytest.approx(-23.01, abs=0.01)
    assert loudness(np.zeros(SAMPLE_RATE, np.float32)) == -np.inf


@pytest.mark.parametrize("anchor", [LOW, MIDDLE])
def test_anchors_are_those_of_the_standard(anchor: str) -> None:
    hertz, response = freqz(taps(anchor), worN=1 << 14, fs=SAMPLE_RATE)
    level = 20 * np.log10(np.abs(response) + 1e-12)
    flat, stop = CUTOFFS[anchor]
    assert np.abs(level[hertz <= flat]).max() < 0.1
    assert level[hertz >= stop].max() < -50
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[1000] = 1
    assert np.argmax(low_passed(click, anchor)) == 1000, "it is not delayed"


def test_a_mushra_test(heard: Run, tmp_path: Path) -> None:
    kit, notes = export(heard, "mushra", tmp_path / "first", count=6)
    assert not notes and read_kit(tmp_path / "first") == kit
    assert sorted(kit.systems.values()) == sorted(SYSTEMS)
    # The furthest of each language, then the second of each.
    assert [one.utterance for one in kit.items.values()] == ["u11", "u10", "u09", "u08", "u07", "u06"]
    assert [one.language for one in kit.items.values()] == ["fr", "en", "de"] * 2
    config = yaml.safe_load((tmp_path / "first" / "configs" / "first.yaml").read_text())
    trials = config["pages"][2]
    assert trials[0] == "random" and len(trials) == 7 and config["testId"] == kit.id == "first"
    for trial in trials[1:]:
        assert trial["type"] == "mushra" and not trial["createAnchor35"]
        assert set(trial["stimuli"]) == {"S1", "S2", "S3", LOW, MIDDLE}
        levels, lengths = set(), set()
        for path in (trial["reference"], *trial["stimuli"].values()):
            wav, rate = soundfile.read(tmp_path / "first" / path)
            assert rate == SAMPLE_RATE and np.abs(wav).max() <= 10 ** (-1 / 20) + 1e-4
            levels.add(round(loudness(wav), 1))
            lengths.add(len(wav))
        assert levels == {round(kit.loudness, 1)} and lengths == {SAMPLE_RATE}
        assert not any(codec in str(trial) for codec in SYSTEMS), "pages do not say which system is which"


def test_an_abx_test(heard: Run, tmp_path: Path) -> None:
    kit, _ = export(heard, "abx", tmp_path / "pairs", count=3, codecs=["good@2k", "bad@1k"])
    config = yaml.safe_load((tmp_path / "pairs" / "configs" / "pairs.yaml").read_text())
    trial = config["pages"][2][1]
    assert trial["type"] == "paired_comparison" and set(trial["stimuli"]) == {"S1", "S2"} and len(kit.items) == 3
    assert config["pages"][-1]["questionnaire"][0]["name"] == "listener"


def test_an_acr_test(heard: Run, tmp_path: Path) -> None:
    kit, _ = export(heard, "acr", tmp_path / "crowd", count=3, url="https://example.org/clips/")
    with (tmp_path / "crowd" / "rating_clips.csv").open(newline="") as file:
        urls = [line["rating_clips"] for line in csv.DictReader(file)]
    assert len(urls) == 3 * 4 and "https://example.org/clips/item01_S1.wav" in urls
    assert {url.rpartition("/")[2] for url in urls} == {p.name for p in (tmp_path / "crowd" / "clips").iterdir()}
    assert kit.stimuli == ("S1", "S2", "S3", REFERENCE)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"codecs": ["good@2k"]}, "two systems or more"),
        ({"codecs": ["good@2k", "best@2k"]}, "has no codec best@2k"),
        ({"count": 2}, "3 languages: 2 items cannot cover them. Use --items 3"),
        ({"condition": "noise:snr=10"}, "no rows under the condition"),
        ({"metrics": ["estoi"]}, "no utterance has values"),
        ({"seed": -1}, "the seed must be 0 or more"),
    ],
)
def test_what_makes_no_test_is_refused(heard: Run, tmp_path: Path, more: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export(heard, "mushra", tmp_path / "test", **more)  # type: ignore[arg-type]


def test_a_run_without_audio_is_refused(heard: Run, tmp_path: Path) -> None:
    import shutil

    from evalkit.results.run import read_run

    shutil.copytree(heard.path, tmp_path / "run", ignore=shutil.ignore_patterns("bad@1k"))
    with pytest.raises(UsageError, match="--save-audio"):
        export(read_run(tmp_path / "run"), "mushra", tmp_path / "test")


def test_the_command(heard: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["listen", "export", str(heard.path), "--design", "mushra", "--items", "20"]
    assert main([*command, "--output", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert (
        "a: 12 items x 6 stimuli" in said
        and "12 utterances with audio of every system, fewer than the 20 items" in said
    )
    assert main([*command, "--output", str(tmp_path / "a")]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    kit = tmp_path / "a" / "test.json"
    kit.write_text(json.dumps(json.loads(kit.read_text()) | {"items": [1]}))
    assert main(["listen", "import", str(tmp_path / "a"), "x.csv", "--output", str(tmp_path / "b")]) == 2
    assert "cannot be read as a listening test" in capsys.readouterr().err
