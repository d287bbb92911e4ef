"""Every codec that can run here keeps the protocol, at every rate."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit import plugins, testing
from evalkit.baselines import codec2, nanocodec, opus, pcm
from evalkit.codecs import CodecFamily
from evalkit.pipeline.choice import choose, known_specs

FAMILIES: list[CodecFamily] = [pcm.FAMILY, opus.FAMILY, codec2.FAMILY, nanocodec.FAMILY]
# Codec 2 starts a process for each utterance: two modes stand for the seven here, which differ in tables only;
# test_baseline_codec2.py checks them all for time and bitrate.
# Of NanoCodec only the built-in weights are here; test_baseline_nanocodec.py has the formats of the others.
FEWER = {"codec2": ("codec2@0.7k", "codec2@1.2k"), "nanocodec": ("nanocodec@1.1k",)}
SPECS = [s for s in known_specs(FAMILIES) if s in FEWER.get(s.partition("@")[0], (s,))]
DEFAULTS = [f"{family.name}@{family.default_rate}" for family in FAMILIES]
KEEP_THE_WAVEFORM = ("pcm", "opus")


def build(spec: str):
    choice = choose(spec)
    if not choice.availability().ready:
        pytest.skip(f"{spec}: {choice.availability().code}. {choice.availability().remedy}")
    return choice.build()


@pytest.mark.parametrize("spec", SPECS)
def test_every_codec_keeps_the_protocol(spec: str) -> None:
    codec = build(spec)
    # On 10 s, one frame of padding is at most 0.8 % (NanoCodec: 80 ms).
    testing.check_codec(codec, choose(spec).bitrate, waveform=spec.startswith(KEEP_THE_WAVEFORM), tolerance=0.01)


@pytest.mark.parametrize("spec", DEFAULTS)
def test_every_length_comes_back(spec: str) -> None:
    codec = build(spec)
    voice = testing.speech(1.0, codec.sample_rate or testing.ANY_RATE)

    @settings(max_examples=10, deadline=None)
    @given(st.integers(1, len(voice)))
    def check(length: int) -> None:
        testing.check_lengths(codec, voice, [length])

    check()


def test_families_are_registered_under_their_names() -> None:
    for family in FAMILIES:
        assert plugins.load("codec", family.name) is family
        assert family.default_rate in family.rates


def test_importing_baselines_imports_none_of_their_packages() -> None:
    code = (
        "import sys\n"
        "from evalkit import plugins\n"
        "families = [plugins.load('codec', name) for name in plugins.names('codec')]\n"
        "assert len(families) >= 12\n"
        "assert all(family.info(rate) and family.availability(rate) for family in families for rate in family.rates)\n"
        "heavy = {'torch', 'transformers', 'snac', 'huggingface_hub', 'av', 'pycodec2', 'soundfile', 'soxr'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_base_install_has_none_of_the_packages_that_break_others() -> None:
    from importlib.metadata import requires

    base = {re.split(r"[^\w-]", line)[0] for line in requires("nanocodec-evalkit") or () if "extra ==" not in line}
    unwanted = {"torchaudio", "moshi", "stable-audio-tools", "stable-codec", "nemo-toolkit", "transformers", "snac"}
    assert "torch" in base and not base & unwanted


def test_devices_do_not_matter_to_classical_codecs() -> None:
    assert np.array_equal(
        pcm.FAMILY.build("float32", "cuda").decode(pcm.PcmCodec().encode(np.ones(3, "f4"))), [1, 1, 1]
    )
