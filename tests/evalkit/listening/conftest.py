"""A run with audio of three systems, and a panel of which every number is known."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.audio import Audio
from evalkit.listening.kit import MIDDLE, REFERENCE, Kit
from evalkit.results.provenance import DatasetInfo, MetricInfo, Provenance
from evalkit.results.rows import Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter, audio_folder, slug
from evalkit.soundfiles import write

RATE = 16_000
SYSTEMS = {"good@2k": 70.0, "fair@1k": 60.0, "bad@1k": 35.0}
"""With the mean rating of each."""
LANGUAGES = ("de", "en", "fr")


@pytest.fixture(scope="session")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Twelve utterances of three languages, 1 s each; systems differ most on the last ones."""
    path = tmp_path_factory.mktemp("listening") / "run"
    rng = np.random.default_rng(0)
    about = Provenance(
        metrics={"pesq-wb": MetricInfo("PESQ-WB", "up"), "bitrate": MetricInfo("bit/s")},
        dataset=DatasetInfo("set", n=12),
    )
    with RunWriter(path, list(SYSTEMS), about) as writer:
        for number in range(12):
            name = f"u{number:02}"
            language = LANGUAGES[number % 3]
            wav = (0.2 * np.sin(2 * np.pi * (200 + 40 * number) * np.arange(RATE) / RATE)).astype(np.float32)
            wav += 0.01 * rng.standard_normal(RATE).astype(np.float32)
            write(audio_folder(path, REFERENCE) / f"{name}.wav", Audio(wav, RATE))
            for place, codec in enumerate(SYSTEMS):
                value = 3.0 - 0.1 * place * number
                writer.add([Row(codec, "set", name, "pesq-wb", value, None, 1.0 + place, language, f"s{number % 4}")])
                loud = wav * np.float32(0.2 + 0.4 * place) + 0.02 * rng.standard_normal(RATE).astype(np.float32)
                write(audio_folder(path, codec) / f"{slug(name)}.wav", Audio(loud, RATE))
    return read_run(path)


@pytest.fixture
def panel() -> Callable[..., Path]:
    """Writes what listeners answer as webMUSHRA's mushra.csv."""

    def rate(path: Path, kit: Kit, listeners: int, seed: int = 0, spread: tuple[float, float, float] = (4, 4, 10),
             means: dict[str, float] = SYSTEMS, deaf: int = 0) -> Path:  # fmt: skip
        """`spread` are the standard deviations of a system's rating between listeners, items and single ratings; the
        last `deaf` listeners do not recognise the hidden reference."""
        rng = np.random.default_rng(seed)
        by_listener, by_item = (
            sd * rng.standard_normal((n, len(means)))
            for sd, n in zip(spread, (listeners, len(kit.items)), strict=False)
        )
        columns = ["session_test_id", "listener", "session_uuid", "trial_id", "rating_stimulus", "rating_score"]
        with path.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow([*columns, "rating_time", "rating_comment"])
            for n in range(listeners):
                for m, page in enumerate(kit.items):
                    for stimulus in kit.stimuli:
                        if stimulus == REFERENCE:
                            score = 60.0 if n >= listeners - deaf else 100.0
                        elif stimulus in kit.anchors:
                            score = 50.0 if stimulus == MIDDLE else 20.0
                        else:
                            k = list(means).index(kit.systems[stimulus])
                            score = means[kit.systems[stimulus]] + by_listener[n, k] + by_item[m, k]
                            score += spread[2] * rng.standard_normal()
                        score = min(100, max(0, round(score)))
                        lines.writerow([kit.id, f"p{n}", f"uuid-{n}", page, stimulus, score, 1234, ""])
        return path

    return rate
