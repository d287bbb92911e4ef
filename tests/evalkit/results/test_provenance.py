"""run.json: dataclasses that write it, and read those of earlier versions."""

from evalkit.pipeline.describe import describe_run
from evalkit.results.provenance import CodecInfo, DatasetInfo, Provenance

OLD = {
    "evalkit": "0.1.0", "git": None, "state": "finished", "format": 1, "seed": 0, "command": ["evalkit", "run"],
    "metrics": {"si-sdr": {"label": "SI-SDR", "direction": "up", "unit": "dB", "version": "1", "decimals": 2}},
    "codecs": {
        "opus@6k": {"sample_rate": 48000, "codebook_sizes": [], "streaming": True, "details": {"av": "13"}},
        "ts3@0.85k (rendered)": {"rendered": "dir", "declared_bitrate": 850.0},
    },
    "dataset": {"name": "set", "revision": "r", "license": "CC0", "n": 2, "ids_sha256": "i", "selection": {"limit": 2}},
    "notes": ["one"], "unheard-of": 1,
}  # fmt: skip


def test_a_file_of_an_earlier_version_is_read() -> None:
    about = Provenance.from_json(OLD)
    assert about.codecs["opus@6k"].causal and about.codecs["opus@6k"].details == {"av": "13"}
    assert about.codecs["ts3@0.85k (rendered)"].declared_bitrate == 850 and about.metrics["si-sdr"].ranks
    assert about.dataset == DatasetInfo("set", "r", "CC0", 2, "i", selection={"limit": 2}) and about.notes == ("one",)
    assert about["state"] == "finished" and about.get("shard") is None and about.get("git", "x") == "x"


def test_what_is_written_is_read_back() -> None:
    about = describe_run(
        ["si-sdr", "cer-mms"], codecs={"a": CodecInfo(16_000, 12.5, (4, 4), causal=False, spec="x@1k")},
        dataset=DatasetInfo("set", n=3), seed=0, batch=1, device="cpu", state="finished",
    )  # fmt: skip
    assert Provenance.from_json(about.to_json()) == about
    assert about.metrics["cer-mms-corpus"].of == "cer-mms" and about.packages["numpy"] and about.evalkit
