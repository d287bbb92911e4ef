"""What every metric owes the rest of the program: its registered name, the contract, documentation that runs, and a
cheap import."""

import doctest
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import evalkit.metrics
from evalkit.errors import MissingError, UndefinedScore
from evalkit.metrics.base import CodesMetric, Metric, Pair, PairMetric, TokenMetric
from evalkit.metrics.checks import require_at_most
from evalkit.metrics.contract import scoring
from evalkit.metrics.model import ModelMetric
from evalkit.testing import check_metric, example_pair

ROOT = Path(__file__).parents[3]
REGISTERED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["evalkit.metrics"]
OURS = {name: target for name, target in REGISTERED.items() if target.startswith("evalkit.metrics.")}
MODULES = [f"evalkit.metrics.{module.name}" for module in pkgutil.iter_modules(evalkit.metrics.__path__)]


def loaded(target: str) -> Metric:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)


METRICS = {name: loaded(target) for name, target in OURS.items()}
READY = [
    metric
    for metric in METRICS.values()
    if not isinstance(metric, CodesMetric | TokenMetric) and metric.availability(["en"]).ready
]
every = pytest.mark.parametrize("metric", METRICS.values(), ids=lambda m: m.name)
ready = pytest.mark.parametrize("metric", READY, ids=lambda m: m.name)


DNSMOS = ("dnsmos-p808", "dnsmos-sig", "dnsmos-bak", "dnsmos-ovrl")
"""13 s each; test_spectra.py holds them to speechmos."""


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        pytest.param(name, metric, marks=[pytest.mark.slow] * (name in DNSMOS), id=name)
        for name, metric in METRICS.items()
    ],
)
def test_registered_metrics_keep_the_contract(name: str, metric: Metric) -> None:
    assert metric.name == name
    check_metric(metric, example_pair(seconds=1.2, rate=metric.rate))


def test_what_needs_no_weights_is_checked_here() -> None:
    """The packages of the extra `dev`: what they bring is scored, not skipped."""
    assert {metric.name for metric in READY} >= {
        "pesq-wb", "pesq-nb-16k", "stoi", "estoi", "mel-2048-80-ln1p", "si-sdr", "stft-dac", "mcd-world-39",
        "f0-corr-world-dtw", "visqol-speech", "visqol-speech-exp", "visqol-audio", "warpq", "plcmos", "dnsmos-p808",
    }  # fmt: skip


@every
def test_every_metric_says_what_it_is(metric: Metric) -> None:
    text = type(metric).__doc__ or ""
    for section in ("Range:", "Source:", "Misses:", "Undefined:", "Example:"):
        assert re.search(rf"^    {section}$", text, re.MULTILINE), f"{metric.name}: no section {section}"
    assert ">>>" in text


def shown(module: ModuleType) -> list[doctest.DocTest]:
    """The examples of a module, each docstring once."""
    found = {test.docstring: test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples}
    return list(found.values())


EXAMPLES = [test for name in MODULES for test in shown(import_module(name))]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_every_example_runs(example: doctest.DocTest) -> None:
    kind = example.name.rpartition(".")[2]
    for metric in METRICS.values():
        state = metric.availability(["en"])
        if type(metric).__name__ == kind and state.code == "needs extra":
            pytest.skip(state.remedy)
    lines: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=lines.append, clear_globs=False)
    assert not lines, "".join(lines)


@ready
def test_nan_has_a_reason_and_no_number(metric: PairMetric | ModelMetric) -> None:
    score, pair = scoring(metric), example_pair(rate=metric.rate)
    for value in (np.nan, np.inf):
        spoilt = pair.decoded.copy()
        spoilt[1000] = value
        for one in (Pair(pair.reference, spoilt, "text", "en"), Pair(spoilt, pair.decoded, "text", "en")):
            with pytest.raises(UndefinedScore, match=r".+"):
                score(one)


@ready
def test_what_is_too_long_has_a_reason(metric: PairMetric | ModelMetric) -> None:
    long = np.broadcast_to(np.float32(0.1), (round(metric.max_seconds * metric.rate) + 1,))
    with pytest.raises(UndefinedScore, match=f"{metric.name} accepts at most {metric.max_seconds:g} s"):
        require_at_most(Pair(long, long), metric)
    require_at_most(Pair(long[:-1], long[:-1]), metric)


def test_metrics_that_do_not_rank_say_so() -> None:
    unranked = {metric.name.split("-")[0] for metric in METRICS.values() if not metric.ranks}
    assert {"plcmos", "dnsmos", "distillmos"} <= unranked


def test_importing_the_metrics_loads_nothing_heavy() -> None:
    heavy = {
        "torch", "transformers", "torchaudio", "speechbrain", "librosa", "pesq", "pystoi", "pandas", "torchmetrics",
        "scipy.signal", "onnxruntime", "visqol", "resemblyzer", "distillmos", "speechmos", "pyworld", "webrtcvad",
    }  # fmt: skip
    modules = [name for name in MODULES if not name.endswith((".networks", ".contract"))]
    code = f"import sys, {', '.join(modules)}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_metric_needs_torchaudio_or_speechbrain(tmp_path: Path) -> None:
    """With both unimportable every model's code is imported, and no metric names them among its packages."""
    for name in ("torchaudio", "speechbrain"):
        (tmp_path / f"{name}.py").write_text("raise OSError('made not to load')\n")
    names = list(pkgutil.iter_modules(import_module("evalkit.metrics.networks").__path__))
    code = "import " + ", ".join(f"evalkit.metrics.networks.{one.name}" for one in names)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    wanted = {package for m in METRICS.values() if isinstance(m, ModelMetric) for package in m.packages}
    assert not wanted & {"torchaudio", "speechbrain", "fairseq", "s3prl"}


def test_product_code_uses_the_words_of_the_field() -> None:
    pictures = re.compile(r"\b(hear|heard|hears|judge|judged|Voices|Originals|Listener|Raters)\b")
    for path in sorted((ROOT / "evalkit" / "metrics").rglob("*.py")):
        found = [line for line in path.read_text().splitlines() if pictures.search(line) and "judge_emb" not in line]
        assert not found, f"{path.name}: {found}"


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.metrics import visqol, world

    for metric, package, extra in (
        (visqol.VISQOL_SPEECH_EXP, "visqol.api", "visqol"),
        (world.MCD_WORLD, "pyworld", "world"),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        visqol._api.cache_clear()
        world._KNOWN.clear()
        with pytest.raises(MissingError, match=rf"{package}.*evalkit\[{extra}\]"):
            metric.score(example_pair())
        visqol._api.cache_clear()
