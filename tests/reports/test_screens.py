"""What people see on terminals of 80, 100 and 140 columns, kept as text in screens/.

After a change that is meant: UPDATE_SCREENS=1 python -m pytest tests/reports/test_screens.py, and look at each.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from evalkit.commands import doctor, listing
from evalkit.commands.printing import print_tables
from evalkit.environment import doctor as examining
from evalkit.environment.doctor import Finding
from evalkit.environment.needs import Need
from evalkit.reports.cells import MISSING, Cell, Column, Table
from evalkit.reports.claims import COLUMNS as CLAIMS
from evalkit.reports.claims import collapse

SCREENS = Path(__file__).parent / "screens"
MINI, OPUS, LONG = "nanocodec-mini@1.1k (built in)", "opus@6k", "wavtokenizer@0.48k-large (epoch=12-step=34000.ckpt)"


def number(text: str, **more: object) -> Cell:
    return Cell(text, float(text), **more)  # type: ignore[arg-type]


def results() -> None:
    metrics = [("PESQ-WB", "↑"), ("ESTOI", "↑"), ("Mel", "↓"), ("SI-SDR", "↑"), ("Codebook use", "↑"), ("LSD", "↓")]
    columns = (
        Column("codec", "Codec", words=True), Column("kbps", "kbit/s"),
        *(Column(label, label, arrow, measured=True) for label, arrow in metrics), Column("n", "n"),
        Column("failed", "failed"),
    )  # fmt: skip
    rows = (
        (Cell(MINI), number("1.104"), number("1.716", best=True, interval="[1.657, 1.789]"),
         number("0.764", interval="[0.752, 0.774]"), number("0.354", best=True, interval="[0.334, 0.367]"),
         number("-27.97", interval="[-33.54, -24.13]"), number("0.468"), number("10.44", interval="[10.28, 10.65]"),
         number("29"), number("0")),
        (Cell(OPUS), number("6.032"), number("1.686", tied=True, interval="[1.612, 1.809]"),
         number("0.794", best=True, interval="[0.781, 0.806]"), number("0.472", second=True, interval="[0.441, 0.495]"),
         number("0.40", best=True, interval="[-0.18, 1.02]"), Cell(MISSING),
         number("30.12", interval="[29.28, 30.91]"), number("29"), number("2")),
    )  # fmt: skip
    notes = (
        "[low, high]: 95% BCa bootstrap, 10,000 resamples, seed 0.",
        f"{MINI} works at 22.05 kHz, but 4 of 29 utterances are at 16 kHz: it was given nothing above 8 kHz there.",
        "To measure it: evalkit run --codec /home/somebody/checkpoints/a-long-name/epoch=12-step=34000.ckpt --limit 4",
    )
    print_tables([Table("builtin", columns, rows, notes), Table("another", columns, rows[:1])])


def comparison() -> None:
    heads = ("A − B", "low", "high", "n", "p bootstrap", "p Wilcoxon", "p adjusted", "detectable")
    columns = (
        *(Column(name, name, words=True) for name in ("A", "B", "Metric")),
        *(Column(name, name) for name in heads), Column("better", "better", words=True),
    )  # fmt: skip
    values = ["-0.029", "-0.041", "-0.021", "29", "0.0001", "3.3e-07", "0.0015", "0.014"]
    rows = [
        (Cell(a), Cell(b), Cell(metric), *map(number, values), Cell(better))
        for metric in ("ESTOI", "PESQ-WB")
        for a, b, better in ((MINI, OPUS, MINI), (MINI, LONG, "not separable"), (OPUS, LONG, LONG))
    ]
    print_tables([Table("builtin", columns, tuple(rows), ("low, high: 95% BCa bootstrap.",), keys=3)])


def claims() -> None:
    nothing = (Cell(MISSING),) * 4
    rows = (
        (Cell("NanoCodec 1.78 kbps has a lower Mel than LFSC 1.89 kbps on MLS"), Cell("supported", best=True),
         number("-0.003", interval="[-0.005, -0.002]"), number("45"), number("0.001"), number("8.1e-05"),
         number("-0.003"), Cell("second-hand"), Cell("")),
        (Cell("NanoCodec 0.8 kbps has a lower Mel than WavTokenizer 0.9 kbps on MLS"), Cell("not separable"),
         number("-0.001", interval="[-0.004, +0.002]"), number("45"), number("0.7"), number("0.92"), Cell(MISSING),
         Cell("general claim"), Cell("at n = 45; 0.005 would be detected")),
        *((Cell(f"claim {i}"), Cell("not measured"), *nothing, Cell(MISSING), Cell("seed"), Cell("no run has sqmos"))
          for i in range(5)),
    )  # fmt: skip
    rest = tuple(
        (Cell("c"), Cell("not measured"), *nothing, Cell(MISSING), Cell("seed"), Cell("no run has this data"))
        for _ in range(6)
    )
    print_tables(collapse([Table("Claims on mls44", CLAIMS, rows), Table("Claims on DAPS clean", CLAIMS, rest)]))


def codecs() -> None:
    columns = [
        "codec", "bit/s", "sample_rate", "frame_rate", "codebook_sizes", "parameters", "code_license",
        "weights_license", "weights", "causal", "state", "remedy", "shown", "output_rate", "variable", "continuous",
        "extra_bits", "depends_on",
    ]  # fmt: skip
    remedy = "Accept the license at https://huggingface.co/stabilityai/stable-codec-speech-16k. Run `evalkit fetch …`"
    rows = [
        ["codec2@0.7k", 700.0, 8000, 25.0, [], None, "LGPL-2.1", None, None, True, "ready", None, True],
        ["nanocodec@0.6k", 598.9, 22050, 12.5, [4032] * 4, 61_700_000, "Apache-2.0", "NVIDIA Open Model License", "x",
         True, "needs download", "…", True],
        ["nanocodec@1.1k-6.25fps", 1097.7, 22050, 6.25, [2016] * 16, None, "Apache-2.0", None, None, True,
         "needs weights", "No weights were released: add --weights FILE", True],
        ["taae@1k", 951.0, 16000, 25.0, [729] * 4, 950_000_000, "Apache-2.0", "Stability Community", "x", False,
         "needs license", remedy, True],
        ["wavtokenizer@0.48k-medium", 480.0, 24000, 40.0, [4096], 74_100_000, "Apache-2.0", "MIT", "x", False,
         "needs download", "…", True],
        ["rendered@undeclared", None, None, None, [], None, None, None, None, None, "rendered only", "add audio", True],
        ["mimi@0.1375k", 137.5, 24000, 12.5, [2048], 80_000_000, "Apache-2.0", "CC-BY-4.0", "x", True,
         "needs download", "…", False],
    ]  # fmt: skip
    more = {"taae@1k": [None, False, False, 32, ["padding"]]}
    rows = [[*row, *more.get(str(row[0]), [None, False, False, 0, None])] for row in rows]
    rows += [
        ["focalcodec-stream@0.55k", 550.0, 16000, 50.0, [2048], None, "Apache-2.0", "Apache-2.0", "x", True,
         "rendered only", "its configuration could not be seen: add --rendered DIR", True, 24000, False, False, 0,
         None],
        ["vibevoice@continuous", None, 24000, None, [], 687_400_000, "Apache-2.0", None, None, True, "rendered only",
         "it has no bitrate: add --rendered DIR", True, None, True, True, 0, None],
        ["dualcodec@3.1k-25hz", 3100.0, 24000, 25.0, [16384] + [1024] * 11, 513_000_000, "Apache-2.0",
         "Apache-2.0, MIT", "x", False, "needs download", "…", True, None, False, False, 0, ["padding", "level"]],
    ]  # fmt: skip
    listing._show_codecs((columns, rows))


FINDINGS = [
    Finding("codec", "codec2 (7 rates)", "ready"),
    Finding("codec", "nanocodec (0.8k, 1.1k-25fps, 1.1k-6.25fps)", "needs weights",
            need=Need("codec nanocodec@0.8k", "needs weights", advice="No weights were released: add --weights FILE")),
    Finding("codec", "taae (0.7k, 0.4k, 1k)", "needs license",
            need=Need("codec taae@0.7k", "needs license", 0, "Stability Community", "", "taae@0.7k", "Accept it")),
    Finding("codec", "plugin", "cannot be loaded", remedy="No module named 'plugin'"),
    Finding("metric", "pesq-wb", "ready"),
    Finding("metric", "cer-mms", "needs download", on_disk="1.2 MB",
            need=Need("metric cer-mms", "needs download", 3_900_000_000, "CC BY-NC 4.0 (non-commercial)", "", "cer-mms",
                      files=frozenset(["mms"]))),
    Finding("metric", "dcer-mms", "needs download",
            need=Need("metric dcer-mms", "needs download", 3_900_000_000, "CC BY-NC 4.0 (non-commercial)", "",
                      "dcer-mms", files=frozenset(["mms"]))),
    Finding("metric", "secs-ecapa", "needs extra",
            need=Need("metric secs-ecapa", "needs extra", 83_300_000, "Apache-2.0", "models", "secs-ecapa")),
    Finding("data", "folder", "give its location"),
    Finding("data", "daps", "not here", need=Need("dataset daps", "not here", advice="DAPS is daps.tar.gz (Zenodo "
            "record 4660670; CC BY-NC 4.0, non-commercial): --dataset daps:DIR,version=cleanraw,speakers=f10+m10")),
    Finding("extra", "models", "lacks torchaudio, speechbrain", need=Need("extra models", "", extra="models")),
    Finding("extra", "dnsmos", "lacks speechmos", need=Need("extra dnsmos", "", extra="dnsmos")),
    Finding("kernels of", "nanocodec", "ready"),
    Finding("", "cache: /home/somebody/.cache/evalkit", "80.7 GB free", on_disk="50.9 MB"),
]  # fmt: skip


def the_doctor() -> None:
    import argparse

    doctor.doctor(argparse.Namespace(json=False))


NAMES = {
    results: (MINI, OPUS, "/home/somebody/checkpoints/a-long-name/epoch=12-step=34000.ckpt"),
    comparison: (MINI, OPUS, LONG),
    claims: ("[-0.005, -0.002]", "[-0.004, +0.002]"),
    codecs: ("nanocodec@1.1k-6.25fps", "wavtokenizer@0.48k-medium", "rendered@undeclared"),
    the_doctor: (
        "pip install 'nanocodec-evalkit[dnsmos]' 'nanocodec-evalkit[models]'\n",
        "  evalkit fetch taae@0.7k cer-mms secs-ecapa\n", "daps:DIR,version=cleanraw,speakers=f10+m10",
    ),
}  # fmt: skip
"""Each screen and what must stand in it whole."""


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("screen", NAMES, ids=lambda screen: screen.__name__)
def test_screens(
    screen: Callable[[], None], width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(examining, "examine", lambda: FINDINGS)
    monkeypatch.setattr("evalkit.__version__", "0.0")
    screen()
    shown = capsys.readouterr().out
    whole: Sequence[str] = NAMES[screen]
    assert all(name in shown for name in whole) and "…" not in shown
    longest = max(map(len, [*whole, ""]))
    assert all(len(line) <= max(width, longest + 2) for line in shown.splitlines())
    kept = SCREENS / f"{screen.__name__}-{width}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(shown, encoding="utf-8")
    assert shown == kept.read_text(encoding="utf-8")
