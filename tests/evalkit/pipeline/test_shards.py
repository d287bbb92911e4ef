"""Shards: however a run is cut, the merged bytes are the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.pipeline.merge import merge
from evalkit.pipeline.shard import Shard, parse_shard
from evalkit.results.rows import to_frame, to_rows
from evalkit.results.run import read_run

RUN = ["run", "--codec", "opus@6k", "--codec", "pcm", "--limit", "8", "--metrics", "mel-2048-80-ln1p,bitrate,entropy"]
FILES = ("rows.parquet", "codes.parquet", "summary.csv")


def in_shards(command: list[str], folder: Path, count: int) -> Path:
    parts = [folder / f"part-{number}-of-{count}" for number in range(1, count + 1)]
    for number, part in enumerate(parts, start=1):
        assert main([*command, "--shard", f"{number}/{count}", "--output", str(part)]) == 0
    merged = folder / f"merged-{count}"
    assert main(["merge", *map(str, reversed(parts)), "--output", str(merged)]) == 0
    return merged


def test_any_number_of_shards_or_processes_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert main([*RUN, "--output", str(whole)]) == 0
    others = [in_shards(RUN, tmp_path, count) for count in (2, 7)]
    for jobs in ("1", "7"):
        others.append(tmp_path / f"jobs-{jobs}")
        assert main([*RUN, "--jobs", jobs, "--no-cache", "--output", str(others[-1])]) == 0
    for other in others:
        for name in FILES:
            assert (other / name).read_bytes() == (whole / name).read_bytes(), (other.name, name)
    assert [part["shard"] for part in read_run(others[1]).provenance["shards"]] == [f"{i}/7" for i in range(1, 8)]


def test_scores_of_pairs_are_cut_by_reference(tmp_path: Path, speech: np.ndarray) -> None:
    lines = ["utterance,reference,decoded,system,accent"]
    for number in range(4):
        wav = speech[number * 8000 :][:32_000]
        soundfile.write(tmp_path / f"{number}.wav", wav, 16_000)
        soundfile.write(tmp_path / f"{number}-quiet.wav", 0.5 * wav, 16_000)
        lines += [f"u{number},{number}.wav,{number}{kind}.wav,system{kind},Scots" for kind in ("", "-quiet")]
    manifest = tmp_path / "pairs.csv"
    manifest.write_text("\n".join(lines))
    command = ["score", "--manifest", str(manifest), "--metrics", "mel-2048-80-ln1p,si-sdr"]
    whole = tmp_path / "whole"
    assert main([*command, "--output", str(whole)]) == 0
    merged = in_shards(command, tmp_path, 3)
    assert (merged / "rows.parquet").read_bytes() == (whole / "rows.parquet").read_bytes()


@given(st.integers(1, 9), st.lists(st.integers(0, 5)))
def test_every_item_is_in_one_shard_and_groups_stay_together(count: int, groups: list[int]) -> None:
    items = list(range(len(groups)))
    parts = [Shard(index, count).take(items, groups) for index in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == items
    for group in set(groups):
        assert sum(any(groups[item] == group for item in part) for part in parts) == 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2"])
def test_what_is_not_a_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not i/n"):
        parse_shard(text)


def test_only_the_shards_of_one_run_are_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--codec", "pcm", "--limit", "2", "--metrics", "si-sdr"]
    for number in (1, 2):
        main([*command, "--shard", f"{number}/2", "--output", str(tmp_path / str(number))])
    main([*command, "--output", str(tmp_path / "whole")])
    main([*command, "--seed", "9", "--shard", "2/2", "--output", str(tmp_path / "other")])
    capsys.readouterr()
    for parts, message in (
        (["1"], "each shard from 1/2 to 2/2 must be given exactly once; given: 1/2"),
        (["1", "1"], "given: 1/2, 1/2"),
        (["1", "whole"], "is a complete run"),
        (["1", "other"], "differ in 'dataset'|differ in 'seed'"),
    ):
        assert main(["merge", *(str(tmp_path / part) for part in parts), "--output", str(tmp_path / "m")]) == 2
        error = capsys.readouterr().err
        assert any(text in error for text in message.split("|")), error
    assert not (tmp_path / "m").exists()


def test_a_shard_that_lost_rows_is_refused(tmp_path: Path) -> None:
    parts = [tmp_path / str(i) for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        main(
            ["run", "--codec", "pcm", "--limit", "4", "--metrics", "si-sdr", "--shard", f"{i}/2", "--output", str(part)]
        )
    file = parts[0] / "rows.parquet"
    rows = pd.read_parquet(file)
    rows[rows["metric"] != "si-sdr"].to_parquet(file)
    with pytest.raises(UsageError, match=r"1 lacks 2 of 2 rows, such as si-sdr of .* \(rows.parquet\)"):
        merge(parts, tmp_path / "whole")


def test_rows_survive_the_way_through_a_table(tmp_path: Path) -> None:
    main(["run", "--codec", "opus@6k", "--limit", "2", "--metrics", "stoi,bitrate", "--output", str(tmp_path / "run")])
    frame = read_run(tmp_path / "run").rows
    assert to_frame(to_rows(frame), ["opus@6k"]).equals(frame)
