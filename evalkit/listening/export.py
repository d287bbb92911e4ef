"""Writes a listening test about a run: stimuli, pages for webMUSHRA or a list for the P.808 toolkit, and test.json.

OUTPUT/
  test.json                             which stimulus is which system: not for listeners
  configs/ID.yaml                       MUSHRA and ABX: the pages; copy configs/ into webMUSHRA
  configs/resources/ID/ITEM_STIMULUS.wav
  clips/ITEM_STIMULUS.wav               ACR: to be uploaded
  rating_clips.csv                      ACR: their addresses, for --clips of the toolkit's master_script.py
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import yaml

from evalkit.errors import AudioError, UsageError
from evalkit.listening.choose import choose_items, disagreement
from evalkit.listening.kit import REFERENCE, Item, Kit
from evalkit.listening.loudness import SAMPLE_RATE
from evalkit.listening.ratings import LISTENER, clip_name
from evalkit.listening.stimuli import TARGET, Stimuli, prepare
from evalkit.results.rows import CLEAN
from evalkit.results.run import Run
from evalkit.results.run_directory import REFERENCE_FOLDER, audio_folder, slug
from evalkit.soundfiles import read
from nanocodec.atomic import replacing

MOST_CONDITIONS, LONGEST = 12, 12.0
"""Of a page of MUSHRA, hidden reference and anchors among them, and seconds of a stimulus: BS.1534, as webMUSHRA holds
tests to it."""

WELCOME = {
    "mushra": "You will listen to speech, each recording in several versions. Rate the quality of each version beside "
    "the reference, from 0 (bad) to 100 (excellent). One of the versions is the reference itself. Use headphones in a "
    "quiet room; set the volume on the next page and leave it there.",
    "abx": "You will listen to a reference and two versions, A and B. One of them is the reference itself: choose "
    "which. Use headphones in a quiet room; set the volume on the next page and leave it there.",
}
TASK = {
    "mushra": "Rate the quality of each version beside the reference.",
    "abx": "Which of the two is the reference?",
}


def export(
    run: Run,
    design: str,
    output: Path,
    count: int = 12,
    codecs: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    condition: str = CLEAN,
    url: str = "",
    seed: int = 0,
) -> tuple[Kit, list[str]]:
    """Write a test of the systems of `run` to the folder `output`.

    Args:
        run: With audio (`--save-audio`), of one dataset.
        design: One of DESIGNS.
        output: A folder that is new or empty.
        count: Items.
        codecs: Which systems; by default all but the original.
        metrics: By which items are chosen; by default all that rank codecs.
        condition: Under which the systems were run.
        url: Where the clips of an ACR test will be.
        seed: Of the order of stimuli names, so that they tell nothing.

    Returns:
        The test, and sentences for who runs it.

    Raises:
        UsageError: The run lacks audio or rows, or the test breaks a rule of its standard.
    """
    rows = run.rows[run.rows["condition"] == condition]
    if rows.empty:
        raise UsageError(f"{run.path} has no rows under the condition {condition}")
    known = [str(one) for one in rows["codec"].unique() if str(one).partition("@")[0] != "pcm"]
    chosen = list(codecs or known)
    if unknown := [one for one in chosen if one not in known]:
        raise UsageError(f"{run.path} has no codec {unknown[0]}. It has: {', '.join(known)}")
    if len(chosen) < 2:
        raise UsageError("a listening test takes two systems or more")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, not {seed}")
    order = np.random.default_rng(seed).permutation(len(chosen))
    kit = Kit(
        id=slug(output.resolve().name),
        design=design,
        items={},
        systems={f"S{place}": chosen[i] for place, i in enumerate(order, start=1)},
        bitrates=_bitrates(rows, chosen),
        dataset=run.provenance.dataset.name,
        run=run.provenance.to_json(),
    )
    if design == "mushra" and len(kit.stimuli) > MOST_CONDITIONS:
        raise UsageError(
            f"BS.1534 allows {MOST_CONDITIONS} stimuli on a page, including the hidden reference and two anchors: "
            f"choose "
            f"{MOST_CONDITIONS - 3} of the {len(chosen)} systems with --codecs"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists and is not an empty folder: choose another --output")
    spread = disagreement(rows, chosen, metrics or _ranking(run))
    files, notes = _files(run, kit, list(spread.index), condition)
    columns = rows.drop_duplicates("utterance").set_index("utterance")
    picked = choose_items(spread[list(files)], columns["language"].astype(object), count)
    prepared = {f"item{n:02}": (utterance, _prepare(kit, files[utterance])) for n, utterance in enumerate(picked, 1)}
    target = min(TARGET, *(one.highest() for _, one in prepared.values()))
    about = columns.reindex(picked)[["language", "speaker"]].fillna("").astype(str)
    items = {
        page: Item(
            utterance, about["language"][utterance], about["speaker"][utterance], round(float(spread[utterance]), 4)
        )
        for page, (utterance, _) in prepared.items()
    }
    kit = replace(kit, items=items, loudness=round(target, 2))
    folder = output / ("clips" if design == "acr" else f"configs/resources/{kit.id}")
    folder.mkdir(parents=True, exist_ok=True)
    for page, (_, stimuli) in prepared.items():
        for name, wav in stimuli.at(target).items():
            soundfile.write(folder / f"{clip_name(page, name)}.wav", wav, SAMPLE_RATE, subtype="PCM_16")
    if design == "acr":
        _write_clips(kit, output / "rating_clips.csv", url)
    else:
        text = yaml.safe_dump(pages(kit), sort_keys=False, allow_unicode=True, width=10_000)
        text = text.replace(
            "- - random\n", "-\n  - random\n"
        )  # webMUSHRA's reader of YAML takes a list in a list so only
        with replacing(output / "configs" / f"{kit.id}.yaml") as partial:
            partial.write_text(text, encoding="utf-8")
    kit.write(output)
    if target < TARGET:
        notes.append(f"All stimuli are at {target:.1f} LUFS instead of {TARGET:g}, so that no peak exceeds -1 dBFS.")
    if len(items) < count:
        notes.append(
            f"The run has {len(items)} utterances with audio of every system, fewer than the {count} items requested."
        )
    return kit, notes


def pages(kit: Kit) -> dict[str, Any]:
    """The configuration of webMUSHRA for `kit`. Stimuli go by names that say nothing of the system; webMUSHRA adds the
    hidden reference itself."""
    place = f"configs/resources/{kit.id}"
    names = [*kit.systems, *kit.anchors]
    first = next(iter(kit.items))
    trials = []
    for page in kit.items:
        trials.append(
            {
                "type": "mushra" if kit.design == "mushra" else "paired_comparison",
                "id": page,
                "name": "Quality" if kit.design == "mushra" else "Which is the reference?",
                "content": TASK[kit.design],
                "showWaveform": True,
                "enableLooping": True,
                "reference": f"{place}/{clip_name(page, REFERENCE)}.wav",
                **({"createAnchor35": False, "createAnchor70": False} if kit.design == "mushra" else {}),
                "stimuli": {name: f"{place}/{clip_name(page, name)}.wav" for name in names},
            }
        )
    return {
        "testname": kit.id,
        "testId": kit.id,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "generic", "id": "welcome", "name": "Welcome", "content": WELCOME[kit.design]},
            {
                "type": "volume", "id": "volume", "name": "Volume", "content": "Set a comfortable volume.",
                "stimulus": f"{place}/{clip_name(first, REFERENCE)}.wav", "defaultVolume": 0.5,
            },
            ["random", *trials],
            {
                "type": "finish", "name": "Thank you", "content": "Enter your code and send your answers.",
                "showResults": False, "writeResults": True,
                "questionnaire": [{"type": "text", "label": "Your code", "name": LISTENER}],
            },
        ],
    }  # fmt: skip


def _write_clips(kit: Kit, path: Path, url: str) -> None:
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["rating_clips"])
    for page in kit.items:
        lines.writerows([f"{url.rstrip('/')}/{clip_name(page, name)}.wav".lstrip("/")] for name in kit.stimuli)
    with replacing(path) as partial:
        partial.write_text(out.getvalue(), encoding="utf-8")


def _files(
    run: Run, kit: Kit, utterances: Sequence[str], condition: str
) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """For each utterance that the test can have, its files by stimulus; and why others cannot be in it."""
    changed = audio_folder(run.path, REFERENCE_FOLDER, condition)
    originals = changed if changed.is_dir() else audio_folder(run.path, REFERENCE_FOLDER)
    folders = {name: audio_folder(run.path, codec, condition) for name, codec in kit.systems.items()}
    seconds = dict(run.references[["utterance", "seconds"]].itertuples(index=False, name=None))
    found: dict[str, dict[str, Path]] = {}
    long = 0
    for utterance in utterances:
        files = {name: folder / f"{slug(utterance)}.wav" for name, folder in (folders | {REFERENCE: originals}).items()}
        if kit.design == "mushra" and seconds.get(utterance, 0.0) > LONGEST:
            long += 1
        elif all(path.is_file() for path in files.values()):
            found[utterance] = files
    if not found and not long:
        raise UsageError(f"{run.path} has no audio of {', '.join(kit.systems.values())}: run again with --save-audio")
    if not found:
        raise UsageError(f"every utterance is longer than {LONGEST:g} s, which BS.1534 does not allow")
    return found, [f"{long} utterances are longer than {LONGEST:g} s and cannot be items."] if long else []


def _prepare(kit: Kit, files: Mapping[str, Path]) -> Stimuli:
    try:
        audio = {name: read(path) for name, path in files.items()}
        return prepare(audio.pop(REFERENCE), audio, kit.anchors)
    except AudioError as error:
        raise UsageError(f"{files[REFERENCE].name}: {error}. Leave the utterance out of the run") from error


def _ranking(run: Run) -> list[str]:
    return [
        name for name, about in run.provenance.metrics.items() if about.direction != "none" and about.ranks
    ]  # fmt: skip


def _bitrates(rows: pd.DataFrame, codecs: Sequence[str]) -> dict[str, float]:
    means = rows[rows["codec"].isin(codecs)].groupby("codec")["bitrate_kbps"].mean().dropna()
    return {str(codec): round(float(value), 4) for codec, value in means.items()}
