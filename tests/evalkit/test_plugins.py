"""Finding codecs, metrics and datasets: entry points, files, objects."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from evalkit import plugins
from evalkit.cli import parser
from evalkit.errors import MissingError, UsageError, did_you_mean
from evalkit.reports.cells import Table
from evalkit.reports.render import FORMATS


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("mls", ("mls", None, {})),
        ("mls,split=dev", ("mls", None, {"split": "dev"})),
        ("daps:/data/daps,version=cleanraw", ("daps", "/data/daps", {"version": "cleanraw"})),
        ("sqmos:reference=a.wav", ("sqmos", None, {"reference": "a.wav"})),
        ("./mine.py:LOADER,language=en", ("./mine.py:LOADER", None, {"language": "en"})),
        ("x:per-language=2", ("x", None, {"per_language": "2"})),
    ],
)
def test_specs_are_names_arguments_and_options(spec: str, expected: tuple[object, ...]) -> None:
    assert plugins.split_spec(spec) == expected


def test_a_word_that_is_no_option_is_refused() -> None:
    with pytest.raises(UsageError, match="'two' is not KEY=VALUE"):
        plugins.split_spec("folder:one,two")


def test_an_unknown_name_has_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"unknown metric 'pesq-wd'. Did you mean 'pesq-wb'\?"):
        plugins.load("metric", "pesq-wd")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("UTMOS", "'utmos22-strong' or 'utmosv2-fold0'?"),  # as the field calls it, not 'sqmos', which is spelled alike
        ("sim", "'sim-resemblyzer', 'sim-wavlm-base-plus-sv' or 'sim-wavlm-large-sv'?"),
        ("pesq_wb", "'pesq-wb'?"),
        ("nisqa", "'nisqa-coloration', 'nisqa-discontinuity', 'nisqa-loudness' or 'nisqa-mos'?"),
    ],
)
def test_suggestions_are_names_that_begin_alike(name: str, suggestion: str) -> None:
    with pytest.raises(UsageError) as error:
        plugins.load("metric", name)
    assert f"Did you mean {suggestion} `evalkit list metrics` shows all." in str(error.value)


def test_nothing_is_suggested_for_an_empty_name() -> None:
    assert did_you_mean("", ["mimi"]) == did_you_mean("xyz", []) == ""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_missing_not_a_crash(code: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "broken_plugin.py"
    file.write_text(code)
    with pytest.raises(MissingError, match=rf"codec .* cannot be loaded: {message}"):
        plugins.load("codec", f"{file}:FAMILY")


def test_a_broken_entry_point_takes_no_other_down(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "nothing_of_this_name:X", "evalkit.codecs")
    found = {**plugins._found("codec"), "broken": broken}
    monkeypatch.setattr(plugins, "_found", lambda kind: found)
    assert "broken" in plugins.names("codec") and plugins.load("codec", "opus").name == "opus"
    with pytest.raises(MissingError, match="codec 'broken' cannot be loaded"):
        plugins.load("codec", "broken")


@pytest.mark.parametrize("kind", list(plugins.GROUPS))
def test_evalkits_own_are_registered_as_others_are(kind: str) -> None:
    names = plugins.installed(kind)
    assert names and all(plugins._found(kind)[name].group == plugins.GROUPS[kind] for name in names)


def test_an_installation_older_than_the_code_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_found", lambda kind: {})
    with pytest.raises(MissingError, match=r"no executor is registered: .* Reinstall it"):
        plugins.load("executor", "processes")


def test_a_format_of_ones_own_is_a_choice_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    plugins.register("format", "shouted", lambda table: f"{table.title.upper()}!\n")
    assert parser().parse_args(["table", "run", "--format", "shouted"]).format == "shouted"
    assert FORMATS["shouted"](Table("means", (), ())) == "MEANS!\n"
    assert sorted(FORMATS) == ["csv", "latex", "markdown", "shouted"] and len(FORMATS) == 4
    with pytest.raises(SystemExit):
        parser().parse_args(["table", "run", "--format", "pdf"])


def test_what_a_plugin_prints_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "noisy.py").write_text("print('hello')\nX = 1\n")
    assert plugins.load("codec", f"{tmp_path / 'noisy.py'}:X") == 1
    said = capsys.readouterr()
    assert said.out == "" and "hello" in said.err


def test_a_file_must_be_there_and_define_the_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        plugins.load("metric", f"{tmp_path / 'gone.py'}:X")
    (tmp_path / "empty_plugin.py").write_text("")
    with pytest.raises(UsageError, match="defines no X"):
        plugins.load("metric", f"{tmp_path / 'empty_plugin.py'}:X")


def test_objects_travel_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    plugins.register("metric", "mine", {"a": 1})
    plugins.register("codec", "unpicklable", sys.stderr)
    packed = plugins.packed("metric")
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    plugins.unpack(packed)
    assert plugins.registered() == {("metric", "mine"): {"a": 1}} and plugins.packed("dataset") == b""
