"""How far the definitions of one metric are apart on the same audio, as docs/explanation/protocols.md says."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "protocols.md").read_text()


@pytest.fixture(scope="module")
def protocols() -> ModuleType:
    spec = spec_from_file_location("protocols", ROOT / "benchmarks" / "protocols.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(beginning: str) -> list[float]:
    """The numbers of the page's row whose definition begins so."""
    (line,) = re.findall(rf"^\|(?: [\w -]+ \|)? {re.escape(beginning)}[^|]*\|(.*)\|$", PAGE, re.MULTILINE)
    return [float(cell) for cell in line.split("|")]


def test_definitions_differ_as_the_page_says(protocols: ModuleType) -> None:
    (at,) = protocols.pairs("codec2@1.2k", 1)
    quick = [one for one in protocols.DEFINITIONS if "48 kHz" not in one[1] and "world" not in one[1]]
    values = {name: function(at(rate)) for _, name, rate, function in quick}
    wide, narrow, at_8k = (values[name] for name in values if "P.862" in name)
    assert wide < narrow < at_8k < narrow + 0.2, "PESQ-NB at 8 kHz is higher by a tenth"
    lattice, exponential = (values[name] for name in values if "visqol-speech" in name)
    assert 0.3 < abs(exponential - lattice) < 2, "ViSQOL's two mappers are no two opinions of one scale"
    assert abs(values["without the mean: `si-sdr`"] - values["with the mean (VERSA's SI-SNR)"]) < 0.5


def test_the_page_has_the_rows_of_the_script(protocols: ModuleType) -> None:
    for _, name, _, _ in protocols.DEFINITIONS:
        assert len(row(name)) == len(protocols.CODECS)
    wide, narrow, at_8k = (row(name) for _, name, _, _ in protocols.DEFINITIONS[:3])
    assert all(a < b < c for a, b, c in zip(wide, narrow, at_8k, strict=True))


def test_error_rates_of_the_page_are_what_the_rules_give(protocols: ModuleType) -> None:
    found = protocols.error_rates()
    for name, (corpus, mean) in found.items():
        assert row(f"`{name}`") == [pytest.approx(corpus, abs=0.05), pytest.approx(mean, abs=0.05)]
    assert found["whisper-en"][0] < found["evalkit"][0], "spellings, numbers and contractions are forgiven"
    assert found["whisper-en"][1] > 2 * found["whisper-en"][0], "one short utterance weighs as much as a long one"


def test_failures_that_count_as_numbers_move_a_mean(protocols: ModuleType) -> None:
    found = protocols.failures([2.0, 2.5, 3.0])
    assert list(found.values()) == [2.5, 1.875, 2.125, 1.625]
    for name, mean in zip(
        found, protocols.failures([row("`pesq-wb`")[0]] * protocols.UTTERANCES).values(), strict=True
    ):
        assert row(name) == [pytest.approx(mean, abs=2e-3)]
