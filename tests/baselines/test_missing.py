"""Codecs whose package or weights are not here say so, with the way to get them."""

import pytest

from evalkit.baselines import codec2, nanocodec, opus
from evalkit.environment import extras
from evalkit.errors import MissingError


@pytest.mark.parametrize(
    ("family", "package"), [(opus.FAMILY, "av"), (codec2.FAMILY, "pycodec2")], ids=["opus", "codec2"]
)
@pytest.mark.parametrize("error", [ImportError("no such package"), OSError("libx.so: cannot open")])
def test_a_package_that_is_missing_or_broken(monkeypatch, family, package, error) -> None:
    def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.setattr(extras, "import_module", refuse)
    state = family.availability(family.default_rate)
    assert (state.code, state.remedy) == ("needs extra", "pip install 'nanocodec-evalkit[classical]'")
    with pytest.raises(MissingError, match=rf"{package} cannot be used .*{error}.*pip install 'nanocodec-evalkit"):
        family.build(family.default_rate)


@pytest.mark.parametrize("rate", ["0.6k", "1.78k", "1.89k"])
def test_released_nanocodec_weights_are_named(rate: str, empty_hub) -> None:
    state = nanocodec.FAMILY.availability(rate)
    assert state.code == "needs download"
    needed = rf"nanocodec@{rate}: .*fetch nanocodec@{rate}.*nemo-nano-codec-22khz-{rate}bps-.*\.nemo.*revision.*license"
    with pytest.raises(MissingError, match=needed):
        nanocodec.FAMILY.build(rate)


def test_rates_that_were_never_released_take_weights_of_ones_own(empty_hub) -> None:
    for rate in ("0.8k", "1.1k-25fps", "1.1k-6.25fps"):
        assert nanocodec.FAMILY.availability(rate).code == "needs weights"
        for attempt in (nanocodec.FAMILY.build, nanocodec.FAMILY.fetch):
            with pytest.raises(MissingError, match=f"nanocodec@{rate}: No weights were released: add --weights FILE"):
                attempt(rate)


def test_nanocodec_rates_are_those_of_its_configurations() -> None:
    rates = nanocodec.FAMILY.rates
    assert list(rates) == ["0.6k", "0.8k", "1.1k", "1.1k-25fps", "1.1k-6.25fps", "1.78k", "1.89k"]
    assert rates["1.1k"] == pytest.approx(1097.7, abs=0.1)  # 8 * log2(2016) * 12.5
