"""From what a plan names to what a run compares: every choice, opened."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.audio_files import AudioFiles, audio_files
from evalkit.cache import Cache
from evalkit.codecs import Annotated, Batched, Codec, CodecInfo, Described, Weighted, Widening, is_release, plain
from evalkit.conditions.base import Condition
from evalkit.datasets.base import Dataset, Utterance
from evalkit.environment.contained import opening
from evalkit.errors import AudioError, UsageError
from evalkit.files import nfc, shown
from evalkit.pipeline.choice import CodecChoice, RenderedChoice
from evalkit.pipeline.coders import BatchCoder, LocalCoder
from evalkit.pipeline.encode import RenderedAudio, RunningCodec, System, batch_details

if TYPE_CHECKING:
    from evalkit.pipeline.plan import Plan


def open_systems(plan: "Plan", cache: Cache) -> list[System]:
    """The systems of `plan`, in its order: each choice under every condition.

    Raises:
        UsageError: two of them would share their rows, or --weights or --rendered cannot be meant.
        MissingError: one of them is not here, or does not open.
    """
    systems = [system for choice in plan.systems for system in _open(choice, plan, cache)]
    names = [system.name for system in systems if system.condition.name == plan.conditions[0].name]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two codecs have the name {name}: give one of them a label, --codec LABEL=NAME@RATE")
    return systems


def _open(choice: CodecChoice | RenderedChoice, plan: "Plan", cache: Cache) -> list[System]:
    rendered = isinstance(choice, RenderedChoice) or choice.rendered is not None
    if rendered and not plan.clean:
        raise UsageError(f"{choice.spec}: conditions do not apply to audio decoded elsewhere")
    if isinstance(choice, RenderedChoice):
        return [_listed(choice)]
    if choice.rendered is not None:
        return [_rendered(choice, choice.rendered, plan.dataset)]
    with opening(f"{choice.spec} cannot be opened"):
        codec = choice.build(plan.device if plan.workers.here else "cpu")
        info = _info(choice, codec, plan.batch if plan.workers.here else 1)
        json.dumps(info.to_json(), ensure_ascii=False, allow_nan=False).encode()  # raises where no run.json can have it
    name = choice.label or codec.name
    systems: list[System] = []
    for condition in plan.conditions:
        with opening(f"{choice.spec} cannot be used under {condition.name}"):
            bound = condition.bind(plan.dataset)
            used = bound.wrap(codec, plan.seed)
        coder = plan.workers.coder(partial(_build, choice, bound, plan.seed), used, plan.device)
        if plan.batch > 1 and isinstance(coder, LocalCoder) and isinstance(used, Batched):
            coder = BatchCoder(used, plan.batch, plan.workers.timeout)
        systems.append(RunningCodec(name, used, coder, info, plan.device, cache, bound, plan.seed))
    return systems


def _build(choice: CodecChoice, condition: Condition, seed: int, device: str) -> Codec:
    """The codec as it is used, in another process."""
    return condition.wrap(choice.build(device), seed)


def _info(choice: CodecChoice, codec: Codec, batch: int) -> CodecInfo:
    family = choice.family
    known = family.info(choice.rate) if isinstance(family, Described) else CodecInfo(code_license=family.license)
    return replace(
        known,
        spec=choice.spec,
        sample_rate=plain(codec.sample_rate),
        frame_rate=plain(codec.frame_rate),
        codebook_sizes=tuple(map(plain, codec.codebook_sizes)),
        output_rate=plain(codec.output_rate) if isinstance(codec, Widening) else None,
        causal=bool(codec.streaming),
        details=dict(batch_details(codec, batch)),
        trained_on_metrics=codec.trained_on_metrics if isinstance(codec, Annotated) else (),
        released=_released(choice, codec),
        weights=known.weights if choice.weights is None else str(choice.weights),
    )


def _released(choice: CodecChoice, codec: Codec) -> bool | None:
    """Whether the weights that `codec` opened are those that were released; None where no sha256 of those is known."""
    if not isinstance(choice.family, Weighted):
        return True
    if choice.weights is None and codec.name != choice.spec:  # built-in weights of another model
        return False
    found = is_release(choice.family, choice.rate, codec)
    return False if found is None and choice.weights is not None else found


def _listed(choice: RenderedChoice) -> System:
    def find(utterance: Utterance) -> Path:
        path = choice.files[utterance.id]
        if path is None:
            raise AudioError(f"there is no decoded file for {utterance.path or utterance.id}")
        return path

    info = CodecInfo(spec=choice.spec, rendered=choice.place)
    kbps = choice.kbps.get
    return RenderedAudio(choice.spec, info, find, lambda utterance: kbps(utterance.id), choice.extra, choice.files)


def _rendered(choice: CodecChoice, folder: Path, dataset: Dataset) -> System:
    if not folder.is_dir():
        raise UsageError(f"--rendered {folder}: no such folder")
    there = audio_files(folder)
    notes = list(there.notes)
    if surplus := sorted(there.files.keys() - {nfc(utterance.id) for utterance in dataset}):
        notes.append(
            f"{shown(folder)}: {len(surplus)} of {len(there.files)} files match no utterance of {dataset.name}, "
            f"for instance {surplus[0]}."
        )
    bitrate = choice.declared_bitrate
    info = CodecInfo(spec=choice.spec, rendered=str(folder), declared_bitrate=bitrate)
    kbps = None if bitrate is None else bitrate / 1000
    return RenderedAudio(choice.rendered_name, info, finder(there), lambda utterance: kbps, passed_over=notes)


def finder(there: AudioFiles) -> Callable[[Utterance], Path]:
    """Finds the audio file of an utterance: the path below the folder, less the suffix, is the id."""

    def find(utterance: Utterance) -> Path:
        paths = there.files.get(nfc(utterance.id), [])
        if not paths:
            raise AudioError(f"{shown(there.folder)} has no audio file named {utterance.id}")
        if len(paths) > 1:
            raise AudioError(f"{shown(paths[0])} and {shown(paths[1])} have the same name: keep one of them")
        return paths[0]

    return find
