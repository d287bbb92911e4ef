"""`evalkit new codec`: what it writes runs and passes its own test."""

from importlib import import_module
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.commands.new import write_codec
from evalkit.errors import UsageError
from evalkit.results.run_directory import read_run


def test_the_codec_that_is_written_keeps_the_protocol_and_runs(tmp_path: Path, capsys, monkeypatch) -> None:
    assert main(["new", "codec", "tiny_codec", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "tiny_codec.py"), str(tmp_path / "test_tiny_codec.py")]
    monkeypatch.syspath_prepend(tmp_path)
    import_module("test_tiny_codec").test_it_follows_the_protocol()
    run = ["run", "--codec", f"{tmp_path / 'tiny_codec.py'}:CODEC", "--metrics", "si-sdr,bitrate", "--limit", "1"]
    assert main([*run, "--output", str(tmp_path / "run")]) == 0
    rows = read_run(tmp_path / "run").rows.set_index("metric")["value"]
    assert rows["si-sdr"] > 20 and rows["bitrate"] == pytest.approx(128_000, rel=0.02)


def test_a_broken_codec_fails_the_test_that_came_with_it(tmp_path: Path, monkeypatch) -> None:
    path, _ = write_codec("broken", tmp_path)
    path.write_text(path.read_text().replace("causal=True", "causal=False"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match="its family declares causal = False, but the codec has True"):
        import_module("test_broken").test_it_follows_the_protocol()


def test_nothing_is_written_over_and_names_are_names(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine")
    with pytest.raises(UsageError, match=r"test_mine\.py already exists"):
        write_codec("mine", tmp_path)
    assert (tmp_path / "test_mine.py").read_text() == "mine" and not (tmp_path / "mine.py").exists()
    for name in ("My Codec", "2x", "a-b", "a/b", "class"):
        with pytest.raises(UsageError, match="is not a valid module name"):
            write_codec(name, tmp_path)
