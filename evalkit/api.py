"""The Python API: what `evalkit/__init__.py` offers, and the command line is made of."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from evalkit import plugins
from evalkit.audio import Audio
from evalkit.cache import Cache
from evalkit.codecs import Codec
from evalkit.conditions import Clean, Condition, load_conditions
from evalkit.datasets import load_dataset
from evalkit.datasets.base import Dataset, require_sense
from evalkit.environment.folders import cache_folder
from evalkit.errors import MissingError, UsageError, text_of
from evalkit.evaluation import Evaluation
from evalkit.files import expanded, shown, slug
from evalkit.metrics.base import Metric, Score, TokenMetric
from evalkit.metrics.load import load_metric, model_metrics, pair_metrics
from evalkit.pipeline.choice import SystemChoice, assign, choose_all
from evalkit.pipeline.jobs import Candidate, Job, Source
from evalkit.pipeline.known_scores import ScoreCache
from evalkit.pipeline.plan import Plan, missing_metrics
from evalkit.pipeline.run import ProgressReporter, execute
from evalkit.pipeline.schedule import score_all, scoring_processes
from evalkit.pipeline.shard import parse_shard
from evalkit.pipeline.suites import available_metrics, missing_lines, use_metric
from evalkit.pipeline.workers import TIMEOUT, Executor, ExecutorFactory
from evalkit.results.rows import CLEAN
from evalkit.soundfiles import HIGHEST_RATE, LOWEST_RATE

if TYPE_CHECKING:
    from evalkit.pipeline.pairs import Pairs

__all__ = [
    "RunOptions",
    "list_codecs",
    "list_datasets",
    "list_metrics",
    "load_codec",
    "load_dataset",
    "load_run",
    "measure",
    "run",
    "score",
]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class RunOptions:
    """Options of `run` and `score`. They change no result unless stated."""

    device: str = "cpu"
    """Torch device on which neural models run. Another device may change the last digits."""
    seed: int = 0
    """For codecs that draw random numbers: numpy and torch are seeded, for each utterance, from it and the samples."""
    jobs: int | None = None
    """Worker processes; None for one per core, but at most one per GB of free memory."""
    executor: str = "processes"
    """Where to score: `processes` on this machine, `ray`, or another entry point of the group `evalkit.executors`."""
    batch: int = 1
    """Number of recordings that metric models, and codecs that support batches, process at once; more than one may
    change the last digits."""
    timeout: float = TIMEOUT
    """Seconds for one codec on one utterance, and one metric on one pair; 0 for no limit."""
    max_seconds: float | None = None
    """Longest recording to score, in seconds: longer ones get a reason. None for each metric's own limit."""
    cache: bool | PathLike = True
    """Whether to cache results by content, or the folder of the cache."""
    shard: str | None = None
    """`i/n`: run part i of n; `evalkit merge` joins the parts."""
    save_audio: bool = False
    """Keep the decoded audio in the run directory."""
    overwrite: bool = False
    """Replace an existing run in the output directory."""
    align: bool = False
    """Compensate a constant lag of decoded audio before scoring, and record this in the provenance."""
    debug: bool = False
    """Print the first traceback of each kind."""
    fail_fast: bool = False
    """Stop at the first failure of a codec or a metric."""
    progress: ProgressReporter | None = None
    """Receives the progress of the run."""

    def __post_init__(self) -> None:
        """Raises UsageError for a number that is none or too small. `Plan.check` knows the limits of the others."""
        for name, least in (("seed", None), ("jobs", 1), ("batch", 1), ("timeout", 0), ("max_seconds", None)):
            value = getattr(self, name)
            whole = name not in ("timeout", "max_seconds")
            kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
            if value is not None and not (isinstance(value, kinds) and (least is None or value >= least)):
                limit = "" if least is None else f", {least} or more"
                raise UsageError(f"{name} must be a {'whole ' * whole}number{limit}, not {value!r}")

    def workers(self, metrics: Sequence[str]) -> Executor:
        """Where waveforms are scored by `metrics`."""
        factory: ExecutorFactory = plugins.load("executor", self.executor)
        return factory(self.jobs, self.timeout, metrics, self.device)

    def open_cache(self) -> Cache:
        """The cache; one in memory where none is wanted."""
        if isinstance(self.cache, bool):
            return Cache(cache_folder() if self.cache else None)
        return Cache(expanded(self.cache))


def run(
    codecs: object,
    dataset: str | Dataset = "builtin",
    metrics: object = "default",
    output: PathLike | None = None,
    *,
    bitrate: str | None = None,
    weights: Mapping[str, PathLike] | Sequence[str] = (),
    rendered: Mapping[str, PathLike] | Sequence[str] = (),
    conditions: Sequence[str | Condition] = (),
    notes: Sequence[str] = (),
    **options: Any,
) -> Evaluation:
    """Run codecs over a dataset and score the decoded audio.

    Args:
        codecs: One or several, each as `NAME[@RATE]`, `LABEL=NAME@RATE`, `FILE.py:NAME`, or an object that follows
            evalkit.codecs.Codec or CodecFamily.
        dataset: `NAME[:PLACE][,OPTION=VALUE…]`, or a Dataset.
        metrics: Names of metrics or sets of metrics, or objects that follow evalkit.metrics.base.Metric.
        output: The run directory; by default a new one in `runs/`.
        bitrate: For every codec without one: `1.1k`.
        weights: Files or folders to load instead of a codec's own weights, by codec or label.
        rendered: Folders of audio that was decoded elsewhere, by codec or label.
        conditions: Changes to audio, codes or codecs, each as `NAME[:OPTION=VALUE,…]` or an object that follows
            evalkit.conditions.Condition; by default none (`clean`).
        notes: Sentences for readers of the results.
        **options: Fields of RunOptions.

    Returns:
        The finished run.

    Raises:
        UsageError: An argument is invalid.
        MissingError: Weights, data or a package are not on this machine; the message says how to get them.
    """
    chosen = choose_all(codecs if isinstance(codecs, list | tuple) else [codecs], bitrate)
    if not chosen:
        raise UsageError("nothing to run: name a codec")
    chosen = assign(assign(chosen, _assignments(weights), "--weights"), _assignments(rendered), "--rendered")
    data = load_dataset(dataset) if isinstance(dataset, str) else require_sense(dataset)
    names = _metric_names(metrics, data.languages)
    default = "-".join(one.label or one.spec for one in chosen)
    under = _conditions(conditions, names)
    return _execute(chosen, data, names, output, default, notes, RunOptions(**options), under)


def score(
    reference: PathLike | None = None,
    decoded: PathLike | Sequence[PathLike] | None = None,
    *,
    manifest: PathLike | pd.DataFrame | None = None,
    metrics: object = "default",
    output: PathLike | None = None,
    name: str | None = None,
    match: str | None = None,
    **options: Any,
) -> Evaluation:
    """Score audio that was decoded elsewhere: the same as `run`, with files instead of codecs.

    Args:
        reference: Folder of originals, or a Kaldi list (`*.scp`).
        decoded: Folder or list of decoded audio, or several; files are matched by path without the suffix.
        manifest: Instead of folders, a CSV, TSV or JSON-lines file, or a DataFrame, with the columns utterance,
            reference, decoded and, optionally, system, language, speaker, transcript and bitrate_kbps; the rows keep
            any other columns.
        metrics: As for `run`; metrics of codes are left out, because there are no codes.
        output: The run directory; by default a new one in `runs/`.
        name: Name of the dataset in the rows; by default that of the folder or manifest.
        match: Pattern of decoded file names, such as `{name}_dec`.
        **options: Fields of RunOptions.

    Returns:
        The finished run.

    Raises:
        UsageError: No file matches, or an argument is invalid.
        MissingError: What a metric needs is not on this machine.
    """
    from evalkit.pipeline.pairs import as_plan_parts

    pairs, found_name, place = _find_pairs(reference, decoded, manifest, match)
    data, systems = as_plan_parts(pairs, shown(name or found_name), place)
    wanted = _metric_names(metrics, tuple(language for language in data.languages if language))
    scored = (*pair_metrics(wanted), *model_metrics(wanted))
    if not scored:
        raise UsageError(f"{', '.join(wanted)} need the codes of a codec, which decoded audio lacks: use `evalkit run`")
    return _execute(systems, data, scored, output, f"score-{data.name}", (), RunOptions(**options))


def measure(
    reference: "ArrayLike | PathLike",
    decoded: "ArrayLike | PathLike",
    sample_rate: int | None = None,
    metrics: object = "default",
    *,
    transcript: str | None = None,
    language: str | None = None,
    timeout: float = TIMEOUT,
) -> dict[str, Score]:
    """Score one pair.

    Args:
        reference: Samples [T], full scale +-1, or a file.
        decoded: Likewise.
        sample_rate: Hz; required for arrays, not allowed for files, which have their own.
        metrics: As for `run`; metrics of codes are left out.
        transcript: The words spoken, for metrics that need them.
        language: ISO 639-1, for metrics that need it.
        timeout: Time limit for each metric, in seconds.

    Returns:
        A Score by row name: a value, or the reason why there is none. Metrics run in a worker process, so that a crash
        fails only their own score; for many pairs, `score` is faster.

    Warns:
        UserWarning: The recordings do not match: late, inverted, at another level, clipped and so on.

    Raises:
        UsageError: An array has no sampling rate or is not [T] of floats, or a sampling rate was given for files.
        MissingError: What a metric needs is not on this machine.
    """
    if sample_rate is not None and all(isinstance(audio, str | os.PathLike) for audio in (reference, decoded)):
        raise UsageError(f"files have their own sampling rate: leave out sample_rate={sample_rate}, or pass arrays")
    RunOptions(timeout=timeout)  # refuses what is no time
    given = [_source(audio, sample_rate, what) for audio, what in ((reference, "reference"), (decoded, "decoded"))]
    names = _metric_names(metrics, (language,) if language else ())
    scored = (*pair_metrics(names), *model_metrics(names))
    if problems := missing_metrics(scored, (language,) if language else ()):
        raise MissingError("\n".join(problems))
    job = Job(given[0], (Candidate(0, given[1], scored),), transcript, language or "")
    rows = [row for metric in scored for row in load_metric(metric).rows]
    found: dict[str, Score] = {}
    with Cache(None) as cache:
        known = ScoreCache(cache)
        for scores in score_all([job], lambda: [job], known, scoring_processes(1, timeout, scored)):
            found |= {one.metric: Score(one.value, one.reason) for one in scores}
    for pair in known.pairings.values():
        if differs := ", ".join(pair.problems()):
            warnings.warn(f"the decoded audio differs from its reference: {differs}", stacklevel=2)
    return {row: found[row] for row in rows}


def load_run(path: PathLike) -> Evaluation:
    """The run in the directory `path`, finished or not.

    Raises:
        UsageError: It is not a run directory that can be read.
    """
    return Evaluation.load(expanded(path))


def load_codec(spec: object, device: str = "cpu", weights: PathLike | None = None) -> Codec:
    """Load a codec.

    Args:
        spec: `NAME[@RATE]`, `FILE.py:NAME`, or an object, as for `run`.
        device: A torch device.
        weights: A file or folder to load instead of its own weights.

    Returns:
        A codec with `encode(wav[T]) -> Codes` and `decode(Codes) -> wav[T]`, float32 at its `sample_rate`.

    Raises:
        UsageError: There is no such codec.
        MissingError: Its weights or a package are not on this machine.
    """
    (choice,) = choose_all([spec])
    if weights is not None:
        (choice,) = assign([choice], [str(weights)], "--weights")
    return choice.build(device)


def list_codecs() -> pd.DataFrame:
    """Every codec at every rate: its properties, and whether it can run here."""
    return _listing("codecs")


def list_metrics() -> pd.DataFrame:
    """Every metric: its direction, unit and range, and whether it can run here."""
    return _listing("metrics")


def list_datasets() -> pd.DataFrame:
    """Every dataset, and whether it is on this machine."""
    return _listing("datasets")


def _listing(what: str) -> pd.DataFrame:
    from evalkit.environment.listing import LISTINGS

    columns, rows = LISTINGS[what]()
    return pd.DataFrame(rows, columns=columns)


def _execute(
    systems: Sequence[SystemChoice],
    data: Dataset,
    names: tuple[str, ...],
    output: PathLike | None,
    default: str,
    notes: Sequence[str],
    options: RunOptions,
    conditions: tuple[Condition, ...] = (Clean(),),
) -> Evaluation:
    plan = Plan(
        systems=tuple(systems),
        dataset=data,
        metrics=names,
        output=new_output(default) if output is None else expanded(output),
        device=options.device,
        seed=options.seed,
        save_audio=options.save_audio,
        overwrite=options.overwrite,
        workers=options.workers(names),
        batch=options.batch,
        conditions=conditions,
        shard=parse_shard(options.shard) if options.shard else None,
        align=options.align,
        max_seconds=options.max_seconds,
        notes=tuple(notes),
        debug=options.debug,
        fail_fast=options.fail_fast,
    )
    try:
        with options.open_cache() as known:
            execute(plan, known, options.progress)
    except KeyboardInterrupt as error:
        error.add_note(f"Rows so far: {plan.output}. The same command resumes from the cache.")
        raise
    return Evaluation.load(plan.output)


def new_output(name: str) -> Path:
    """A run directory in `runs/` that no other run has, also none that starts in the same second."""
    stem = Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{slug(name)}"
    for number in range(1, 1000):
        path = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(
                f"{path} cannot be created: {error.strerror or error}. Choose another --output."
            ) from error
    raise UsageError(f"{stem} and a thousand similar names already exist: choose an --output")


def _metric_names(wanted: object, languages: Sequence[str]) -> tuple[str, ...]:
    """Names for what was asked for; objects are registered under theirs."""
    words: list[str] = []
    for one in wanted if isinstance(wanted, list | tuple) else [wanted]:
        if isinstance(one, Metric):
            one = use_metric(one)
        if not isinstance(one, str):
            raise UsageError(
                f"{one!r} is not a metric: pass a name, or an instance of a class from evalkit.metrics.base"
            )
        words += [one] if "=" in one else one.split(",")
    names, left_out = available_metrics(words, languages)
    if left_out:
        warnings.warn(f"left out, because it cannot run here yet:\n{missing_lines(left_out)}", stacklevel=3)
    return names


def _conditions(wanted: Sequence[str | Condition], metrics: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions of a run; clean is among them where metrics compare with it."""
    found = load_conditions([wanted] if isinstance(wanted, str) else wanted)
    comparing = [name for name in metrics if isinstance(load_metric(name), TokenMetric)]
    if not comparing:
        return found
    if all(one.name == CLEAN for one in found):
        raise UsageError(
            f"{', '.join(comparing)} compare codes under a condition with those of clean audio: add a condition"
        )
    return (Clean(), *(one for one in found if one.name != CLEAN))


def _assignments(given: Mapping[str, PathLike] | Sequence[str]) -> list[str]:
    return [f"{name}={path}" for name, path in given.items()] if isinstance(given, Mapping) else list(given)


def _find_pairs(
    reference: PathLike | None,
    decoded: PathLike | Sequence[PathLike] | None,
    manifest: PathLike | pd.DataFrame | None,
    match: str | None,
) -> "tuple[Pairs, str, str]":
    from evalkit.pipeline import pairs

    if manifest is not None and reference is None and decoded is None:
        if isinstance(manifest, pd.DataFrame):
            return pairs.from_frame(manifest), "manifest", "a DataFrame"
        path = expanded(manifest)
        return pairs.from_manifest(path), path.stem, str(path)
    if manifest is None and reference is not None and decoded is not None:
        folders = [decoded] if isinstance(decoded, str | os.PathLike) else list(decoded)
        originals = expanded(reference)
        found = pairs.from_folders(originals, [os.fspath(folder) for folder in folders], match or pairs.SAME_NAME)
        return found, originals.resolve().name, ", ".join(map(str, folders))
    raise UsageError("give either --reference DIR and --decoded DIR, or --manifest FILE.csv")


def _source(audio: "ArrayLike | PathLike", sample_rate: int | None, what: str) -> Source:
    if isinstance(audio, str | os.PathLike):
        return Source(expanded(audio))
    if isinstance(audio, np.ma.MaskedArray):
        raise UsageError(f"{what} is a masked array: remove the masked samples, or fill them")
    try:
        samples = np.asarray(audio)
    except Exception as error:  # rows of unequal length, a tensor elsewhere than in this memory
        raise UsageError(f"{what} cannot be read as an array: {text_of(error)}") from error
    if sample_rate is None:
        raise UsageError(f"{what} is an array: give its sample_rate in Hz, which cannot be guessed")
    number = isinstance(sample_rate, Real) and LOWEST_RATE <= sample_rate <= HIGHEST_RATE
    if not number or sample_rate != int(sample_rate):
        raise UsageError(f"sample_rate must be {LOWEST_RATE} to {HIGHEST_RATE}, in whole Hz, not {sample_rate!r}")
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise UsageError(
            f"{what} must be an array [T] of floats, full scale +-1, not {samples.dtype} of shape {list(samples.shape)}"
        )
    return Source(Audio(np.array(samples, np.float32), int(sample_rate)))
