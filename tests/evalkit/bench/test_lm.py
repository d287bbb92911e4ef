"""The speech LM: what its caches compute, what it costs by count and by arithmetic, and a bench of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from evalkit.bench import latency
from evalkit.bench.directory import read_bench, read_setting, setting
from evalkit.bench.lm import config, roofline
from evalkit.bench.lm.config import CACHES, Speech, TokenSpec, load, names
from evalkit.bench.lm.model import SpeechModel
from evalkit.bench.lm.run import LmPlan, execute
from evalkit.bench.lm.simulate import Generated, build
from evalkit.errors import UsageError
from evalkit.reports.bench import build_bench_tables
from evalkit.reports.cells import MISSING

from .fakes import WindowCodec
from .test_run import StreamingCodec, contender

LFSC = TokenSpec("LFSC 1.89k/21.5", 22050 / 1024, (2016,) * 8, 12.41, 38.17)
NANO_21 = TokenSpec("Nano 1.89k/21.5", 22050 / 1024, (2016,) * 8, 0, 26.34)
NANO_12 = TokenSpec("Nano 1.78k/12.5", 12.5, (2016,) * 13, 0, 17.15)
NANO_11 = TokenSpec("Nano 1.1k/12.5", 12.5, (2016,) * 8, 0, 17.15)
NANO_06 = TokenSpec("Nano 0.6k/12.5", 12.5, (4032,) * 4, 0, 17.15)
KOEL = load("koel")
SMALL = KOEL.scaled(128, 2)


def test_language_models_have_their_published_sizes() -> None:
    """Totals in millions: published, or summed by hand from the layers; 32k text tokens but for Koel's phonemes."""
    found = {
        name: sum(roofline.parameters(load(name), NANO_21, 100 if name == "koel" else 32_000).values()) / 1e6
        for name in names()
    }
    assert {name: round(total) for name, total in found.items()} == {
        "koel": 354, "koel-1.1b": 1106, "magpie": 241, "moshi": 6709
    }  # fmt: skip
    with pytest.raises(UsageError, match="Did you mean 'koel'"):
        load("koe")


def test_a_scaled_model_keeps_the_share_of_its_vocabulary() -> None:
    def share(lm: config.LanguageModel) -> float:
        parts = roofline.parameters(lm, NANO_21)
        return parts["head"] / (parts["decoder FFN"] + parts["decoder self attention"])

    assert share(KOEL.scaled(256, 4)) == pytest.approx(share(KOEL), rel=0.01)
    assert KOEL.scaled(256, 4).name == "koel/256x4" and KOEL.scaled(256, 4).entries(2016) == 225


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("text_layers", [0, 1])
def test_all_caches_give_the_same_logits(kernel: int, text_layers: int) -> None:
    lm = replace(SMALL, kernel=kernel, text_layers=text_layers)
    torch.manual_seed(0)
    model = SpeechModel(lm, NANO_06, "parallel").eval()
    speech = Speech(1.0, 0.5, 7)
    made = {}
    with torch.inference_mode():
        for cache in CACHES:
            torch.manual_seed(1)  # the same prompt
            generation = model.start(speech, cache)
            generation.x = generation.x.clone()
            hidden = []
            for step in range(5):
                torch.manual_seed(2 + step)  # and the same embeddings after it
                new = torch.randn(2, 1, lm.width)
                generation.x = torch.cat([generation.x, new], 1)
                hidden.append(generation.hidden(new if cache == "full" else generation.x)[:, -1])
            made[cache] = torch.stack(hidden)
    assert made["full"].abs().max() > 0.5
    for cache in CACHES:
        assert (made[cache] - made["full"]).abs().max() < 1e-4, cache


def operations(lm: config.LanguageModel, spec: TokenSpec, cache: config.Cache) -> tuple[float, float]:
    """FLOPs of the tenth step, counted, and by arithmetic."""
    torch.manual_seed(0)
    model, speech = SpeechModel(lm, spec, "parallel").eval(), Speech(1.0, 5.0)
    with torch.inference_mode():
        generation = model.start(speech, cache)
        for _ in range(9):
            generation.step()
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as mode:
            generation.step()
    positions = generation.x.shape[1]
    return mode.get_total_flops(), roofline.step(lm, spec, speech, cache, positions, 4)[0]


@pytest.mark.parametrize("cache", CACHES)
def test_a_step_does_what_arithmetic_says(cache: config.Cache) -> None:
    counted, computed = operations(SMALL, NANO_11, cache)
    if cache == "none":  # keys and values of the text, too, which arithmetic leaves out
        computed += SMALL.layers * 2 * 2 * 100 * SMALL.width * 2 * SMALL.cross_width
    assert counted == pytest.approx(computed, rel=0.01)


def test_operations_alone_give_the_ratios_between_frame_rates() -> None:
    """From 21.5 to 12.5 frames a second: 1.7 with everything cached, 2.75 with attention alone or nothing."""

    def ratio(cache: config.Cache) -> float:
        cost = {}
        for spec in (NANO_21, NANO_11):
            positions = spec.frame_rate * (5 + 7.7 / 2) + 2
            cost[spec.name] = spec.frame_rate * roofline.step(KOEL, spec, Speech(), cache, positions, 4)[0]
        return cost[NANO_21.name] / cost[NANO_11.name]

    assert 1.5 <= ratio("full") <= 1.8
    assert ratio("upstream") == pytest.approx(2.95, abs=0.06) and ratio("none") == pytest.approx(2.95, abs=0.06)


RATIOS = {
    ("full", "a100-bf16-ideal"): (1.07, 1.76, 1.80, 1.80),
    ("full", "a100-bf16-graph"): (1.01, 1.52, 1.73, 1.93),
    ("full", "a100-tf32"): (1.01, 1.46, 1.71, 1.98),
    ("upstream", "a100-tf32"): (1.01, 1.46, 1.71, 1.98),
    ("upstream", "a100-fp32"): (1.01, 2.44, 2.61, 2.69),
    ("upstream", "a100-bf16-graph"): (1.01, 1.98, 2.20, 2.39),
    ("none", "a100-fp32"): (1.01, 2.53, 2.67, 2.74),
}
"""RTF of LFSC / of NanoCodec at 1.89, 1.78, 1.1 and 0.6 kbit/s, by a script that was written before this module."""


@pytest.mark.parametrize(("cache", "machine"), list(RATIOS))
def test_real_time_factors_are_those_of_an_independent_computation(cache: config.Cache, machine: str) -> None:
    def rtf(spec: TokenSpec) -> float:
        return roofline.estimate(KOEL, spec, Speech(), roofline.HARDWARE[machine], cache, "parallel", 1).rtf

    found = [rtf(LFSC) / rtf(spec) for spec in (NANO_21, NANO_12, NANO_11, NANO_06)]
    assert found == [pytest.approx(expected, abs=0.015) for expected in RATIOS[cache, machine]]


def test_first_audio_waits_for_the_lookahead_of_the_decoder() -> None:
    """Where a step dominates, LFSC's five frames cost (4 + 5) / 4 of a first chunk of four; 2.24 is published."""
    short = replace(LFSC, ahead=5.0)
    fast = replace(roofline.HARDWARE["a100-tf32"], flops=1e18)
    found = {
        spec.name: roofline.estimate(KOEL, spec, Speech(), fast, "upstream", "parallel", 4) for spec in (short, NANO_21)
    }
    assert found[short.name].ttfa / found[NANO_21.name].ttfa == pytest.approx(9 / 4, rel=0.01)
    assert found[short.name].wait_share == pytest.approx(5 / 9, abs=0.01) and found[NANO_21.name].wait_share == 0
    exact = roofline.estimate(KOEL, LFSC, Speech(), fast, "upstream", "parallel", 4)
    assert exact.ttfa / found[NANO_21.name].ttfa == pytest.approx(17 / 4, rel=0.01), "13 frames where exactness counts"


def test_codebooks_cost_time_where_they_are_predicted_one_after_another() -> None:
    def rtf(spec: TokenSpec, heads: config.Heads) -> float:
        return roofline.estimate(KOEL, spec, Speech(), roofline.HARDWARE["a100-tf32"], "full", heads, 1).rtf

    assert rtf(NANO_21, "local") / rtf(NANO_12, "local") < rtf(NANO_21, "parallel") / rtf(NANO_12, "parallel")
    assert rtf(NANO_21, "local") > rtf(NANO_21, "parallel")


def test_hardware_is_found_by_the_beginning_of_its_name() -> None:
    assert [one.name for one in roofline.hardware(["h200"])] == ["h200-bf16", "h200-bf16-graph"]
    here = roofline.measured()
    assert here.bandwidth > 1e8 and here.flops > 1e8 and 0 < here.launch < 1e-2
    with pytest.raises(UsageError, match="unknown hardware 'z80'"):
        roofline.hardware(["z80"])


@pytest.mark.parametrize("heads", config.HEADS)
def test_an_utterance_has_a_step_for_every_frame(heads: config.Heads) -> None:
    spec, speech = TokenSpec("tiny", 10.0, (50, 60, 70)), Speech(1.2, 0.5, 5)
    made = build(SMALL, spec, heads, "cpu")(speech, "full")
    assert made.codes.shape == (3, 12) and (made.codes.max(1) < [50, 60, 70]).all() and (made.codes >= 0).all()
    assert len(made.steps) == 11 + (heads == "delay") and made.total > 0 and made.cpu > 0


def test_the_time_until_a_frame_grows_by_its_steps() -> None:
    made = Generated(1.0, (0.1, 0.2, 0.3), 0.0, torch.zeros(1, 4).numpy())
    assert [made.until(n) for n in (1, 2, 4, 9)] == pytest.approx([1.0, 1.1, 1.6, 1.6]) and made.total == 1.6


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """An LM driven by a codec that streams, one that looks ahead, and one whose codebooks are residual."""
    ahead = WindowCodec(ahead=0, early=90)
    ahead.name = "ahead"
    residual = WindowCodec()
    residual.name, residual.residual = "residual", True
    path: Path = tmp_path_factory.mktemp("lm") / "bench"
    plan = LmPlan(
        [contender(StreamingCodec()), contender(ahead), contender(residual)], path, replace(KOEL, top_k=20), rounds=6,
        speech=Speech(0.1, 0.1, 5), caches=("full", "none"), first=(1, 2), lookahead=("exact",), scale=(64, 1),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SECONDS", 0.6)
        execute(plan)
    return read_bench(path)


def test_every_setting_of_an_lm_is_simulated_in_every_round(bench) -> None:
    rows = bench.rows
    ttfa = rows[(rows["quantity"] == "ttfa") & (rows["codec"] == "window")]
    assert set(ttfa["kind"]) == {"simulated"} and len(ttfa) == 6 * 2 * 2
    assert {read_setting(text)["cache"] for text in ttfa["setting"]} == {"full", "none"}
    about = read_setting(ttfa["setting"].iloc[0])
    assert about["lm"] == "koel/64x1" and about["heads"] == "parallel"
    rtf = rows[(rows["quantity"] == "rtf") & (rows["stage"] == "both") & (rows["codec"] == "window")]
    assert {read_setting(text)["mode"] for text in rtf["setting"]} == {"offline", "stream"}
    assert any("random weights, not the model itself" in note for note in bench.provenance["notes"])


def test_residual_codebooks_are_not_predicted_in_parallel_unless_asked_for(bench) -> None:
    rows = bench.rows[bench.rows["kind"] == "simulated"]
    heads = {codec: {read_setting(text)["heads"] for text in mine["setting"]} for codec, mine in rows.groupby("codec")}
    assert heads == {"window": {"parallel"}, "ahead": {"parallel"}, "residual": {"delay"}}
    assert any("The codebooks of residual depend on one another" in note for note in bench.provenance["notes"])


def test_codecs_whose_heads_differ_are_compared(bench) -> None:
    (table,) = (one for one in build_bench_tables([bench]) if one.title.startswith("RTF of a speech LM"))
    at = [column.key for column in table.columns].index("ratio-lm")
    ratios = [(line[0].text, line[at].text) for line in table.rows]
    assert [codec for codec, text in ratios if text == MISSING] == ["window"] * 2, "which the others are compared with"
    assert {codec for codec, _ in ratios} == {"window", "ahead", "residual"}


def test_waiting_is_what_lookahead_costs(bench) -> None:
    rows = bench.rows

    def wait(codec: str) -> float:
        where = setting(
            lm="koel/64x1", cache="full", heads="parallel", first=1, lookahead="exact", of="ttfa", part="wait"
        )
        found = rows[(rows["codec"] == codec) & (rows["setting"] == where)]
        return float(found["value"].median())

    assert wait("window") == 0 and wait("ahead") > 0.02, "90 samples are two frames of 80"


def test_words_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--cache half: choose from full, upstream, none"):
        execute(LmPlan([], tmp_path, KOEL, caches=("half",)))  # type: ignore[arg-type]
