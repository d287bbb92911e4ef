"""Whether runs measured the same audio under the same names: what differs is never compared, joined or gated."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.results.run import Run


def audio_of(run: "Run") -> dict[str, str]:
    """sha256 of the samples by utterance; empty for runs of earlier versions."""
    return dict(run.references[["utterance", "pcm_sha256"]].itertuples(index=False, name=None))


def check_runs(runs: Sequence["Run"]) -> None:
    """Hold runs to what they call by one name.

    Args:
        runs: What is to be compared.

    Raises:
        UsageError: Two runs call different data by one name.
    """
    known: dict[str, tuple[dict[str, str], Run]] = {}
    for run in runs:
        dataset, audio = run.provenance.dataset, audio_of(run)
        if not dataset.name:
            continue
        if dataset.name in known:
            before, first = known[dataset.name]
            revisions = first.provenance.dataset.revision, dataset.revision
            if None not in revisions and revisions[0] != revisions[1]:
                raise UsageError(
                    f"{first.path} and {run.path} have different revisions of the dataset {dataset.name}: their "
                    f"numbers are not comparable"
                )
            check_audio(before, audio, f"{first.path} and {run.path}")
            audio = before | audio
        known[dataset.name] = (audio, run)


def check_audio(before: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    """Hold utterances to their samples.

    Args:
        before: sha256 of the samples, by utterance.
        now: Likewise.
        where: What names the two, for the message.

    Raises:
        UsageError: An utterance has other samples than before.
    """
    changed = [utterance for utterance in before.keys() & now.keys() if before[utterance] != now[utterance]]
    if changed:
        raise UsageError(
            f"{where} measured different audio under the same ids ({_some(changed)}): their results are not "
            "comparable. Run both on the same data."
        )


def _some(names: Iterable[str], shown: int = 3) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - shown} more" if len(ordered) > shown else ""
    return ", ".join(ordered[:shown]) + more
