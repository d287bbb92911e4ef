"""A bench from end to end, its directory, and what it says where something does not work."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.audio import Wave
from evalkit.bench import fresh as fresh_process
from evalkit.bench import latency
from evalkit.bench.contenders import Contender, contenders
from evalkit.bench.directory import (
    BenchWriter,
    Measurement,
    is_bench,
    read_bench,
    read_setting,
    setting,
)
from evalkit.bench.fresh import fresh
from evalkit.bench.run import BenchPlan, execute
from evalkit.codecs import Codes
from evalkit.errors import CodecError, MissingError, UsageError
from evalkit.pipeline.choice import CodecChoice, choose
from nanocodec import testing as nanocodec_testing

from .fakes import HOP, RATE, Family, WindowCodec


class StreamingCodec(WindowCodec):
    """Codes and samples come as soon as they can."""

    lookahead = (0.0, 0.0)

    def stream_encoder(self):
        return lambda wav: self.encode(wav).indices

    def stream_decoder(self):
        return lambda indices: self.decode(Codes(indices.shape[1] * HOP, indices, self.codebook_sizes))


class FailingCodec(WindowCodec):
    def decode(self, codes: Codes) -> Wave:
        raise RuntimeError("no decoder today")


def contender(codec, **more) -> Contender:
    return Contender(CodecChoice(Family(codec), "1k", **more))


def rows_of(bench, codec: str, quantity: str, **where) -> pd.DataFrame:
    found = bench.rows[(bench.rows["codec"] == codec) & (bench.rows["quantity"] == quantity)]
    for name, value in where.items():
        found = found[found[name] == value]
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A streaming codec, one that looks ahead, and one that fails."""
    failing = FailingCodec()
    failing.name = "failing"
    ahead = WindowCodec(ahead=40, early=50)
    ahead.name = "ahead"
    path = tmp_path_factory.mktemp("bench") / "first"
    three = [contender(StreamingCodec(past=10)), contender(ahead), contender(failing)]
    plan = BenchPlan(three, path, seconds=1.0, rounds=6, batches=(1, 4), parts=("count", "latency", "time", "stream"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SECONDS", 0.6)
        execute(plan)
    return read_bench(path)


def test_every_round_of_every_codec_is_a_row(bench) -> None:
    for stage in ("encode", "decode"):
        times = rows_of(bench, "window", "rtf", stage=stage, batch=1)
        assert list(times["round"]) == [1, 2, 3, 4, 5, 6] and (times["value"] > 0).all()
        assert (times["kind"] == "measured").all()
        assert set(times["unit"]) == {"s of processing / s of audio"}
        assert len(rows_of(bench, "window", "cpu", stage=stage)) == 6
    assert len(rows_of(bench, "*", "calibration")) == 6


def test_latency_stands_beside_what_was_declared(bench) -> None:
    def lookahead(codec: str, stage: str, kind: str) -> float | None:
        found = rows_of(bench, codec, "lookahead", stage=stage, kind=kind, setting=setting(level="0"))
        return None if found.empty else float(found["value"].iloc[0])

    assert (lookahead("ahead", "encode", "measured"), lookahead("ahead", "decode", "measured")) == (40, 50)
    assert lookahead("ahead", "encode", "declared") is None
    assert lookahead("window", "encode", "declared") == lookahead("window", "encode", "measured") == 0
    latency = rows_of(bench, "ahead", "latency", setting=setting(level="0"))
    assert float(latency["value"].iloc[0]) == (HOP + 40 + 50) / RATE * 1000


def test_streams_have_packets_and_what_does_not_stream_says_so(bench) -> None:
    first = rows_of(bench, "window", "first-packet", stage="encode")
    assert len(first) == 6 and (first["value"] >= 1000 * HOP / RATE).all(), "a frame of audio must be there first"
    assert (rows_of(bench, "window", "packet-p95", stage="decode")["value"] > 0).all()
    assert list(rows_of(bench, "ahead", "first-packet")["reason"]) == ["it does not stream here"] * 2


def test_what_could_not_be_measured_has_a_reason_and_no_value(bench) -> None:
    for quantity, reason in (
        ("rtf", "no decoder today"),
        ("first-packet", "no decoder today"),
        ("latency", "no decoder"),
    ):
        found = rows_of(bench, "failing", quantity)
        assert len(found) and found["value"].isna().all() and found["reason"].str.contains(reason).all()
    assert set(rows_of(bench, "window", "rtf", batch=4)["reason"]) == {"it takes one utterance at a time"}
    assert set(rows_of(bench, "window", "gmac")["reason"]) == {"it exposes no network to count"}
    assert (
        rows_of(bench, "window", "energy")["reason"].notna().all() or rows_of(bench, "window", "energy")["value"].all()
    )


def test_provenance_says_on_what_it_was_measured(bench) -> None:
    about = bench.provenance
    assert about["state"] == "finished" and about["threads"] == 1 and about["device"] == "cpu"
    assert about["codecs"]["ahead"]["causal"] is False and about["codecs"]["window"]["weights"] == ""
    assert {"processor", "cores", "load", "packages", "git", "environment"} <= about.keys()


def test_a_bench_is_not_overwritten_by_accident(bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already holds a bench"):
        BenchWriter(bench.path, {})
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a bench directory"):
        BenchWriter(tmp_path, {})


def test_what_was_measured_before_an_interruption_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), BenchWriter(tmp_path / "cut", {"threads": 1}) as writer:
        writer.add([Measurement("a", "encode", "rtf", 0.5, "measured", round=1)])
        raise KeyboardInterrupt
    found = read_bench(tmp_path / "cut")
    assert found.provenance["state"] == "stopped early (KeyboardInterrupt)" and list(found.rows["value"]) == [0.5]


def test_a_newer_bench_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(json.dumps({"format": 99, "evalkit": "9"}))
    assert is_bench(tmp_path)
    with pytest.raises(UsageError, match="newer evalkit"):
        read_bench(tmp_path)
    with pytest.raises(UsageError, match=r"no bench\.json"):
        read_bench(tmp_path / "nothing")


def test_a_bench_whose_rows_are_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text("{}")
    os.mkfifo(tmp_path / "bench.parquet")
    with pytest.raises(UsageError, match="not a regular file"):
        read_bench(tmp_path)


def test_a_measurement_has_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="either a value or a reason"):
        Measurement("a", "encode", "rtf", None, "measured")
    with pytest.raises(ValueError, match="unknown quantity"):
        Measurement("a", "encode", "speed", 1.0, "measured")
    about = {"cache": "full", "first": "4"}
    assert read_setting(setting(**about)) == about


def test_codecs_are_named_with_random_weights_or_without(empty_hub: Path) -> None:
    (own, drawn) = contenders(["nanocodec@1.1k", "nanocodec@1.1k:random"])
    assert (own.weights, drawn.weights) == ("own", "random") and drawn.spec == "nanocodec@1.1k:random"
    fallback = contenders(["nanocodec@1.78k", "nanocodec@1.1k", "opus@6k", "taae"], random=True)
    assert [one.weights for one in fallback] == ["random", "own", "", "own"]
    with pytest.raises(UsageError, match="named twice"):
        contenders(["opus@6k", "opus@6k"])
    with pytest.raises(UsageError, match="does not know its architecture"):
        contenders(["taae:random"])[0].build("cpu")
    with pytest.raises(MissingError):
        contenders(["nanocodec@1.78k"])[0].build("cpu")


def test_random_nanocodec_at_1_1k_is_the_papers_and_not_the_built_in_one() -> None:
    random = choose("nanocodec@1.1k").family.random
    with pytest.MonkeyPatch.context() as patch:
        made, seeded = [], nanocodec_testing.seeded_model
        narrow = nanocodec_testing.narrow
        patch.setattr(nanocodec_testing, "seeded_model", lambda config: made.append(config) or seeded(narrow(config)))
        codec = random("1.1k", "cpu")
    assert made[0].name == "1.1k" and made[0].encoder.base_channels == 24
    assert codec.name == "nanocodec@1.1k" and codec.details == {"weights": "random"}
    indices = codec.encode(np.random.default_rng(0).uniform(-0.3, 0.3, 4 * 1764).astype(np.float32)).indices
    push = codec.stream_decoder()
    streamed = np.concatenate([push(indices[:, n : n + 1]) for n in range(4)])
    assert np.abs(streamed - codec.decode(Codes(4 * 1764, indices, codec.codebook_sizes))).max() < 1e-5
    feed = codec.stream_encoder()
    assert feed(np.zeros(1764, np.float32)).shape == (8, 0), "the encoder waits for 24,000 samples more"


def test_start_up_and_memory_are_taken_in_a_process_of_their_own() -> None:
    found = fresh(contenders(["pcm"])[0], "cpu", 1, 1.0)
    assert found.startup > 0.05 and found.first_encode > 0
    assert 10 < found.loaded <= found.encode < 5000 and found.decode > 10


def test_a_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_process, "contenders", contenders)
    with pytest.raises(CodecError, match=r"its process failed: .*nothing-here"):
        fresh(contenders(["nanocodec@1.78k"], ["nothing-here.nemo"])[0], "cpu", 1, 1.0)
