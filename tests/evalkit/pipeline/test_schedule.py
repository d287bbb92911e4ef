"""Which jobs are scored when: models one after the other, crashes narrowed down to their cause, within the memory."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit import plugins
from evalkit.audio import Audio, AudioIdentity
from evalkit.cache import Cache
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.load import load_metric
from evalkit.pipeline import schedule
from evalkit.pipeline.jobs import Candidate, Job, Source
from evalkit.pipeline.known_scores import ScoreCache
from evalkit.pipeline.schedule import score_all, scoring_processes, split_jobs
from evalkit.pipeline.suites import use_metric

HERE = Source(Path("a.wav"))


def job(*candidates: tuple[int, str], **about: object) -> Job:
    """A job with candidates of these keys, each with the metrics that a comma separates."""
    return Job(
        HERE,
        tuple(Candidate(key, HERE, tuple(names.split(","))) for key, names in candidates),
        **about,  # type: ignore[arg-type]
    )


def contents(jobs: object) -> list[list[tuple[int, tuple[str, ...]]]]:
    """Keys and metrics of each of `jobs`."""
    return [[(one.key, one.metrics) for one in each.candidates] for each in jobs]  # type: ignore[attr-defined]


def test_a_crash_is_looked_for_job_by_job_then_candidate_by_candidate_then_metric_by_metric() -> None:
    both = job((0, "pesq-wb,stoi"), (1, "pesq-wb,stoi"))
    assert split_jobs((both, both)) == [(both,), (both,)]
    candidates = split_jobs((both,))
    assert [contents(part) for part in candidates] == [[[(0, ("pesq-wb", "stoi"))]], [[(1, ("pesq-wb", "stoi"))]]]
    metrics = split_jobs(candidates[1])
    assert [contents(part) for part in metrics] == [[[(1, ("pesq-wb",))]], [[(1, ("stoi",))]]]
    assert split_jobs(metrics[0]) == [metrics[0]], "what cannot be split is the culprit"


def test_each_model_has_all_its_jobs_by_language_the_longest_first() -> None:
    jobs = [
        job((0, "sqmos,cer-mms,si-sdr"), language="de", seconds=1.0),
        job((1, "sqmos"), language="de", seconds=2.0),
        job((2, "cer-mms,dcer-mms"), language="en", seconds=9.0),
        job((3, "si-sdr"), language="en", seconds=9.0),
    ]
    parts = [list(mine) for mine in schedule._by_model(jobs)]
    assert [contents(mine) for mine in parts] == [
        [[(1, ("sqmos",))], [(0, ("sqmos",))]],
        [[(0, ("cer-mms",))], [(2, ("cer-mms", "dcer-mms"))]],
    ]


def test_a_batch_is_of_one_language_and_no_larger_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job((key, "sqmos"), language="de" if key < 3 else "en", batch=2) for key in range(5)]
    assert [len(group) for group in schedule._groups(jobs)] == [1] * 5, "padding would change what it infers"
    monkeypatch.setattr(type(load_metric("sqmos")), "pads", True)
    groups = list(schedule._groups(jobs))
    assert [[one.candidates[0].key for one in group] for group in groups] == [[0, 1], [2], [3, 4]]


def test_workers_share_what_the_metrics_import_and_fit_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("si-sdr", "estoi", "pesq-wb", "stoi")
    assert scoring_processes(1, metrics=names)._preload == ("evalkit.pipeline.score", "pystoi", "pesq")
    monkeypatch.setattr(schedule, "default_workers", lambda: 8)
    for free, count in ((3.5 * schedule.MEMORY_A_WORKER, 3), (100 * schedule.MEMORY_A_WORKER, 8), (1, 1)):
        monkeypatch.setattr(schedule, "available_memory", lambda free=free: int(free))
        assert scoring_processes().window == 2 * count and scoring_processes(5).window == 10


def test_long_recordings_are_scored_one_by_one_and_need_memory_by_their_length(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 700 * 4000), 4000)
    known = Source(Path("unread"), AudioIdentity("", 16_000, 700 * 16_000))
    memory = Source(Audio(np.zeros(700 * 4000, np.float32), 4000))
    for source in (Source(path), known, memory):
        assert source.seconds() == 700
        whole = Job(source, tuple(Candidate(key, source, ("si-sdr",)) for key in range(3)))
        assert schedule._memory_of((whole,)) == 4 * 700 * schedule.MEMORY_A_SECOND
        assert [[one.key for one in part.candidates] for part in schedule._by_candidate(whole)] == [[0], [1], [2]]
    soundfile.write(tmp_path / "short.wav", np.zeros(4000), 4000)
    short = Source(tmp_path / "short.wav")
    whole = Job(short, (Candidate(0, short, ("si-sdr",)), Candidate(1, Source(tmp_path / "gone.wav"), ("si-sdr",))))
    assert list(schedule._by_candidate(whole)) == [whole] and schedule._memory_of((whole,)) == 0


@dataclass(frozen=True)
class Kills(PairMetric):
    """Ends its process where the decoded audio is loud."""

    def score(self, pair: Pair) -> float:
        if pair.decoded.max() > 0.5:
            import os

            os._exit(3)
        return 1.0


def test_scores_come_once_each_and_what_is_known_is_not_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    use_metric(Kills("kills", "Kills", "up", "", 0.0, 1.0, "1", 1))
    wav = (0.4 * np.random.default_rng(0).standard_normal(8000)).clip(-0.4, 0.4).astype(np.float32)
    audio = [Audio(gain * wav, 16_000) for gain in (1, 0.5, 2)]
    sources = [Source(one, one.identity()) for one in audio]
    whole = Job(sources[0], tuple(Candidate(key, one, ("kills", "si-sdr")) for key, one in enumerate(sources)))
    with Cache(tmp_path / "cache") as cache:
        known = ScoreCache(cache)
        first = [one for scores in score_all([whole], list, known, scoring_processes(1)) for one in scores]
        found = {(one.key, one.metric): one.value for one in first}
        assert len(first) == len(found) == 6 and known.hits == 0
        assert found[2, "kills"] is None and found[1, "kills"] == 1 and found[2, "si-sdr"] is not None
        (lost,) = [one for one in first if one.value is None]
        assert lost.reason == "its process crashed with exit code 3" and not lost.settled
        again = [one for scores in score_all([replace(whole)], list, known, scoring_processes(1)) for one in scores]
        assert {(one.key, one.metric): one.value for one in again} == found and known.hits == 5, (
            "a crash is tried again"
        )
