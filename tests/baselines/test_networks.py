"""Networks of this project's own: seeded weights in the released files, opened by the real loading code, and beside
what upstream's own code makes of the same weights (tests/oracle/NAME.py --golden)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from evalkit import testing
from evalkit.baselines import bigcodec, dualcodec, focalcodec, moss, speechtokenizer
from evalkit.baselines import testing as narrow
from evalkit.baselines.tensors import on_meta
from evalkit.baselines.testing import dualcodec as narrow_dualcodec
from evalkit.baselines.testing import focalcodec as narrow_focalcodec
from evalkit.baselines.testing import speechtokenizer as narrow_speechtokenizer
from evalkit.errors import MissingError
from evalkit.pipeline.choice import choose


@dataclass(frozen=True)
class Case:
    """One codec at one rate."""

    spec: str
    golden: tuple[str, str] | None
    """File and name of what upstream made; None where another case has it."""
    frames: dict[int, int]
    """Tokens of each codebook, by samples."""
    unused: tuple[str, ...] = ()
    """Parameters that make no difference to one token, or to any."""

    @property
    def family(self) -> str:
        return self.spec.partition("@")[0]

    @property
    def rate(self) -> str:
        return self.spec.partition("@")[2]


CASES = [
    Case("focalcodec@0.65k", ("focalcodec.npz", "0.65k"), {1: 1, 719: 1, 720: 2, 16_000: 49, 16_320: 50}),
    Case("focalcodec@0.33k", ("focalcodec.npz", "0.33k"), {1: 1, 1040: 2, 16_000: 25}),
    Case("focalcodec@0.16k", ("focalcodec.npz", "0.16k"), {1: 1, 16_000: 13}),
    Case("bigcodec@1.04k", ("bigcodec.npz", "bigcodec"), {1: 1, 199: 1, 200: 2, 399: 2}),
    Case("moss@0.125k", None, {1: 1, 1920: 1, 1921: 2}),
    Case("moss@2k", ("moss.npz", "moss"), {1: 1}, tuple(f"quantizer.quantizers.{n}." for n in range(16, 32))),
    Case("speechtokenizer@0.5k", None, {1: 1, 320: 1, 321: 2}),
    Case("speechtokenizer@4k", ("speechtokenizer.npz", "speechtokenizer"), {1: 1}),
    Case("dualcodec@0.175k-12hz", None, {1: 1, 9600: 4}),
    Case("dualcodec@1.225k-12hz", ("dualcodec.npz", "1.225k-12hz"), {1: 1}, ("speech.masked_spec_embed",)),
    Case("dualcodec@3.1k-25hz", ("dualcodec.npz", "3.1k-25hz"), {1: 1, 9600: 9}, ("speech.masked_spec_embed",)),
]
IDS = [case.spec for case in CASES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Seeded weights by spec; a family with one release for all rates has one folder."""
    root = tmp_path_factory.mktemp("networks")
    made: dict[object, Path] = {}
    for case in CASES:
        key = choose(case.spec).family.release(case.rate).files, choose(case.spec).family.release(case.rate).repository
        if key not in made:
            made[key] = narrow.write(case.family, case.rate, root / f"{len(made)}")
        made[case.spec] = made[key]
    return {case.spec: made[case.spec] for case in CASES}


def build(case: Case, folders: dict[str, Path]):
    return choose(case.spec).family.build_from(folders[case.spec], case.rate, "cpu")


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_they_keep_the_protocol(case: Case, folders) -> None:
    codec, choice = build(case, folders), choose(case.spec)
    testing.check_codec(codec, choice.bitrate, tolerance=0.02, info=choice.family.info(choice.rate))


@pytest.mark.parametrize("case", [case for case in CASES if case.golden], ids=lambda case: case.spec)
def test_tokens_and_audio_are_those_of_upstream(case: Case, folders, check_every_weight_counts) -> None:
    check_every_weight_counts(build(case, folders), *case.golden, unused=case.unused)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_frames(case: Case, folders) -> None:
    codec = build(case, folders)
    voice = testing.speech(1.1, codec.sample_rate)
    for samples, frames in case.frames.items():
        codes = codec.encode(voice[:samples])
        assert codes.indices.shape == (len(codec.codebook_sizes), frames), samples
        assert len(codec.decode(codes)) == samples


def test_more_codebooks_begin_with_the_same_tokens(folders) -> None:
    cases = {case.spec: case for case in CASES}
    for fewer, more in (
        ("moss@0.125k", "moss@2k"),
        ("speechtokenizer@0.5k", "speechtokenizer@4k"),
        ("dualcodec@0.175k-12hz", "dualcodec@1.225k-12hz"),
    ):
        few, many = build(cases[fewer], folders), build(cases[more], folders)
        voice = testing.speech(0.5, few.sample_rate)
        assert np.array_equal(few.encode(voice).indices, many.encode(voice).indices[:1])


def test_the_level_is_not_coded_by_focalcodec(folders) -> None:
    codec = build(CASES[0], folders)
    voice = testing.speech(1.0, 16_000) + 1e-3 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    quiet = codec.encode((0.05 * voice).astype(np.float32))
    assert (quiet.indices == codec.encode(voice).indices).mean() > 0.9 and codec.details["level"] == "not coded"


def test_first_checkpoints_of_focalcodec_open_too(folders, tmp_path: Path) -> None:
    about = narrow_focalcodec.config("0.65k")
    tensors = narrow_focalcodec.state(about)
    old = narrow_focalcodec.save(about, narrow_focalcodec.older(tensors), tmp_path / "old")
    voice = testing.speech(0.5, 16_000)
    codes = [focalcodec.FAMILY.build_from(path, "0.65k").encode(voice) for path in (old, folders["focalcodec@0.65k"])]
    assert np.array_equal(codes[0].indices, codes[1].indices)


def test_moss_sees_ten_seconds_back_and_nothing_ahead(folders) -> None:
    codec = build(next(case for case in CASES if case.spec == "moss@2k"), folders)
    codes = codec.encode(testing.speech(2.0, 24_000))
    start = codec.encode(testing.speech(2.0, 24_000)[: 10 * moss.HOP])
    assert np.array_equal(start.indices, codes.indices[:, :10])
    assert np.allclose(codec.decode(start), codec.decode(codes)[: 10 * moss.HOP], atol=1e-5)


def test_cards_count_the_published_models() -> None:
    from evalkit.baselines.bigcodec_model import PUBLISHED, BigCodec
    from evalkit.baselines.dualcodec_model import DualCodec
    from evalkit.baselines.focalcodec_model import FocalCodec, Shape
    from evalkit.baselines.moss_model import Moss
    from evalkit.baselines.moss_model import Shape as MossShape
    from evalkit.baselines.speechtokenizer_model import Shape as SpeechTokenizerShape
    from evalkit.baselines.speechtokenizer_model import SpeechTokenizer

    def count(model) -> int:
        return sum(p.numel() for p in model.parameters())

    for rate, parameters in focalcodec.PARAMETERS.items():
        shape = Shape.of(focalcodec.published(rate))
        assert count(on_meta(lambda: FocalCodec(shape))) == parameters  # noqa: B023
    assert count(on_meta(lambda: BigCodec(PUBLISHED))) == bigcodec.PARAMETERS
    model = on_meta(lambda: Moss(MossShape.of(moss.described())))
    assert (count(model), count(model.quantizer.quantizers[0])) == (moss.PARAMETERS, moss.PER_CODEBOOK)
    model = on_meta(lambda: SpeechTokenizer(SpeechTokenizerShape.of(speechtokenizer.PUBLISHED)))
    assert count(model) == speechtokenizer.PARAMETERS
    for name, parameters in dualcodec.PARAMETERS.items():
        model = on_meta(lambda: DualCodec(narrow_dualcodec.shape(name, published=True)))  # noqa: B023
        assert count(model) == parameters
        assert count(model.dac["quantizer"].quantizers[0]) == dualcodec.PER_CODEBOOK[name]
    transformers = pytest.importorskip("transformers")
    config = transformers.Wav2Vec2BertConfig(num_hidden_layers=dualcodec.LAYERS)
    assert count(on_meta(lambda: transformers.Wav2Vec2BertModel(config))) == dualcodec.SPEECH_PARAMETERS


def test_rates() -> None:
    for family, rates in {
        "focalcodec": {"0.65k": 650, "0.33k": 325, "0.16k": 162.5},
        "bigcodec": {"1.04k": 1040},
        "moss": {"0.125k": 125, "4k": 4000},
        "speechtokenizer": {"0.5k": 500, "4k": 4000},
        "dualcodec": {"0.175k-12hz": 175, "1.225k-12hz": 1225, "0.35k-25hz": 350, "3.1k-25hz": 3100},
    }.items():
        found = choose(family).family
        assert {rate: found.rates[rate] for rate in rates} == rates and found.default_rate in found.rates
        assert 1 <= sum(found.info(rate).listed for rate in found.rates) <= 6


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_files_that_lack_something_are_refused(case: Case, folders, tmp_path: Path) -> None:
    family, source = choose(case.spec).family, folders[case.spec]
    with pytest.raises(MissingError, match="is not there"):
        family.build_from(tmp_path, case.rate)
    for path in (path for path in source.rglob("*") if path.is_file() and path.suffix != ".json"):
        place = tmp_path / path.name
        for other in (other for other in source.rglob("*") if other.is_file()):
            target = place / other.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(other.read_bytes() if other != path else other.read_bytes()[:-500])
        with pytest.raises(MissingError, match=f"{case.spec}: "):
            family.build_from(place, case.rate)


def test_models_of_other_shapes_are_refused(folders, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"hop 320 and 8192 codes, .* hop 1280"):
        focalcodec.FAMILY.build_from(folders["focalcodec@0.16k"], "0.65k")
    with pytest.raises(MissingError, match=r"12hz_16384_4096\.safetensors is not there"):
        dualcodec.FAMILY.build_from(folders["dualcodec@3.1k-25hz"], "1.225k-12hz")
    source = folders["speechtokenizer@4k"] / speechtokenizer.FOLDER
    for name in (speechtokenizer.CONFIG, speechtokenizer.TENSORS):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    speechtokenizer.FAMILY.build_from(tmp_path, "4k")  # without the folder that the release has
    for change, message in (({"activation": "Snake"}, "not implemented"), ({"strides": [8, 5, 4, 4]}, "hop 640")):
        (tmp_path / speechtokenizer.CONFIG).write_text(json.dumps(narrow_speechtokenizer.NARROW | change))
        with pytest.raises(MissingError, match=message):
            speechtokenizer.FAMILY.build_from(tmp_path, "4k")


def test_the_speech_model_lies_below_the_weights_or_in_the_hubs_cache(folders, empty_hub, tmp_path: Path) -> None:
    source = folders["dualcodec@1.225k-12hz"]
    for name in dualcodec.RELEASES["12hz"].files:
        (tmp_path / name).write_bytes((source / name).read_bytes())
    with pytest.raises(MissingError, match=r"w2v-bert-2\.0 is not there; run `evalkit fetch dualcodec@"):
        dualcodec.FAMILY.build_from(tmp_path, "1.225k-12hz")
    cached = empty_hub / "models--facebook--w2v-bert-2.0"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("f" * 40)
    (cached / "snapshots").mkdir()
    (cached / "snapshots" / ("f" * 40)).symlink_to(source / dualcodec.SPEECH)
    assert dualcodec.FAMILY.build_from(tmp_path, "1.225k-12hz").frame_rate == 12.5
    assert dualcodec.FAMILY.availability("1.225k-12hz").code == "needs download"
