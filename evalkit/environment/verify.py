"""Whether what is here is what was released, and computes what upstream computes.

Three things are looked at: the bytes of the weights; values that others computed with them (configs/golden.yaml); and
codes of built-in utterances that were recorded earlier (configs/fingerprints.yaml, and the user's own).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit import plugins
from evalkit.audio import Audio
from evalkit.codecs import Codec, Codes, Weighted, fingerprint, is_release
from evalkit.datasets import builtin, huggingface
from evalkit.environment.downloads import File
from evalkit.environment.folders import data_folder
from evalkit.environment.machine import package_version, processor
from evalkit.errors import MissingError, UsageError
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.choice import CodecChoice, choose
from evalkit.soundfiles import read
from nanocodec.atomic import replacing

WITHIN = 1e-4
"""Of a value, or of 1 where that is larger: what two machines may differ by."""
UTTERANCES = ("en-01", "de-02", "pl-03")
"""Built-in ones whose codes are a codec's fingerprint."""
BOOKS, FRAMES = 8, 25
"""Of each, whose codes are recorded themselves: where the hash is another, they tell how many codes are."""
OWN = "configs/fingerprints.yaml"
"""Names the weights of this project, which nobody else has released."""
NEARLY = 0.9
"""Share of recorded codes that is called agreement where the hash is another: other kernels and versions of libraries
flip some."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What is verified."""
    what: str
    """`weights`, `value`, `codes` or `fingerprint`."""
    found: str
    agrees: bool | None
    """None where there was nothing to compare with, or it could not be had."""
    source: str = ""
    """Who states what was expected."""


def verify(name: str, weights: Path | None = None) -> Iterator[Check]:
    """All that can be said of the metric or codec `name`; of a codec also with its files in `weights`.

    Raises:
        UsageError: there is no such metric or codec, or it is a codec of rendered audio.
        MissingError: its weights or packages are not here.
    """
    if name.partition(":")[0] in plugins.names("metric"):
        if weights is not None:
            raise UsageError(f"{name} is a metric: --weights is for codecs")
        yield from _metric(name)
    elif name.partition(":")[0] in plugins.names("dataset"):
        raise UsageError(f"{name} is a dataset: `evalkit fetch` verifies what it downloads")
    else:
        yield from _codec(choose(name), weights)


def verdict(checks: Sequence[Check]) -> tuple[bool | None, str]:
    """What `checks` of one thing come to, and in words: whether it is verified; None where nothing was compared."""

    def of(*kinds: str) -> bool | None:
        agreed = [check.agrees for check in checks if check.what in kinds]
        return False if False in agreed else True if True in agreed else None

    released, upstream, before = of("weights"), of("value", "codes"), of("fingerprint")
    own = any(check.source == OWN for check in checks)
    words = {
        True: "these are the weights that this project ships" if own else "these are the released weights",
        False: "these are NOT the released weights",
        None: "no recorded sha256 identifies these weights",
    }[released]
    if not any(check.what == "weights" for check in checks):
        words = "its weights, if any, come with a package"
    computes = {
        True: "the output equals upstream's",
        False: "the output does NOT equal upstream's",
        None: "there are no values to compare with",
    }[upstream]
    if before is not None:
        recorded = "the output equals the record" if before else "the output does NOT equal the record"
        computes = recorded if upstream is None else f"{computes}; {recorded}"
    agreed = (released, upstream, before)
    return (False if False in agreed else True if True in agreed[1:] else None), f"{words}; {computes}"


# --- metrics -----------------------------------------------------------------------------------------------------


def _metric(name: str) -> Iterator[Check]:
    metric = load_metric(name)
    if isinstance(metric, ModelMetric):
        if not (state := metric.availability()).ready:
            raise MissingError(f"{name}: {state.remedy}")
        yield from (_file(name, file) for file in metric.files)
    yield from (_value(name, one) for one in golden()["metrics"] if one["metric"] == name)


def _file(name: str, file: File) -> Check:
    """What the bytes of one file of weights say."""
    path, source = file.open(), "the recorded sha256"
    if file.replaced:
        return Check(name, "weights", f"{path.name} is a mirror's, checked against {file.replaced}", False, source)
    if file.sha256:
        return Check(name, "weights", f"{path.name} is the released one, sha256 {file.sha256[:12]}", True, source)
    at = f"of the pinned commit {file.revision[:12]}; " if file.pinned else ""
    return Check(name, "weights", f"{path.name}: {at}no sha256 is recorded", None)


def _value(name: str, stated: Mapping[str, Any]) -> Check:
    """A metric's value of a pair, beside the one that somebody states."""
    metric, source = load_metric(name), golden()["sources"][stated["source"]]
    try:
        reference, decoded = (_audio(golden()["pairs"]["versa"][side], f"versa/{side}.wav") for side in SIDES)
    except MissingError as error:
        return Check(name, "value", f"the pair is not available ({error})", None, source)
    pair = Pair(reference.at(metric.rate).wav, decoded.at(metric.rate).wav, language="en")
    found = metric.score(pair) if isinstance(metric, PairMetric) else metric.open("cpu").score(metric, pair)[name]  # type: ignore[attr-defined]
    within = stated.get("within", WITHIN * max(1.0, abs(stated["value"])))
    said = f"{found:.6g}, expected {stated['value']:.6g} (within {within:.1g})"
    return Check(name, "value", said, abs(found - stated["value"]) <= within, source)


SIDES = ("reference", "decoded")


def _audio(about: Mapping[str, str], kept: str) -> Audio:
    name = about["url"].rpartition("/")[2]
    file = File(name, "see its repository", 0, url=about["url"], kept=f"verify/{kept}", sha256=about["sha256"])
    return read(file.fetch(lambda name, count: None))


# --- codecs ------------------------------------------------------------------------------------------------------


def _codec(choice: CodecChoice, weights: Path | None) -> Iterator[Check]:
    if weights is not None:
        if not isinstance(choice.family, Weighted):
            raise UsageError(f"{choice.spec} has no weights")
        codec = choice.family.build_from(weights, choice.rate, "cpu")
    else:
        codec = choice.build()
    if codec.codebook_sizes:
        yield _weights(choice, codec)
        yield from (_codes(choice.spec, codec, one) for one in golden()["codecs"] if one["codec"] == choice.spec)
        yield _recorded(choice.spec, codec)
    else:
        yield Check(choice.spec, "codes", "it has no codebooks", None)


def _weights(choice: CodecChoice, codec: Codec) -> Check:
    released = is_release(choice.family, choice.rate, codec)
    digests = codec.details.get("weights_sha256") or {}
    shown = (
        ", ".join(f"{name} {digest[:12]}" for name, digest in digests.items()) if isinstance(digests, Mapping) else ""
    )
    if released:
        return Check(choice.spec, "weights", f"the released ones: {shown}", True, "the recorded sha256")
    if released is False:
        return Check(choice.spec, "weights", f"not the released ones: {shown}", False, "the recorded sha256")
    if ours := [one["weights"] for one in _config("fingerprints.yaml").get(choice.spec, [])]:
        if _digests(codec) in ours:
            return Check(choice.spec, "weights", f"those that this project ships: {shown}", True, OWN)
        return Check(choice.spec, "weights", f"not those that this project ships: {shown}", None)
    return Check(choice.spec, "weights", f"no sha256 is recorded; here: {shown}" if shown else "it has none", None)


def _codes(spec: str, codec: Codec, stated: Mapping[str, Any]) -> Check:
    """A codec's codes of an utterance, beside those that somebody states."""
    source = golden()["sources"][stated["source"]]
    try:
        audio, expected = _utterance(stated.get("utterance", "dummy")), _expected(stated)
    except MissingError as error:
        return Check(spec, "codes", f"the reference is not available ({error})", None, source)
    assert codec.sample_rate is not None
    indices = codec.encode(audio.at(codec.sample_rate).wav).indices
    assert indices is not None
    if "mean" in stated:
        found = float(indices.mean())
        said = f"mean {found:.2f}, expected {stated['mean']} (within {stated['within']})"
        return Check(spec, "codes", said, abs(found - stated["mean"]) <= stated["within"], source)
    share = _share(indices, expected)
    least = stated.get("least", 1.0)
    said = f"{share:.1%} of the {expected.size} published codes are equal (at least {least:.0%})"
    return Check(spec, "codes", said, share >= least, source)


def _share(found: NDArray[np.int64], expected: NDArray[np.int64]) -> float:
    """Share of `expected` [K, N] that `found` has at its beginning."""
    part = found[: expected.shape[0], : expected.shape[1]]
    return float((part == expected).mean()) if part.shape == expected.shape else 0.0


def _utterance(name: str) -> Audio:
    """What others encoded: an utterance of the built-in set, or one that is brought."""
    for one in builtin.load():
        if one.id == name:
            return one.audio()
    about = golden()["utterances"][name]
    table, _ = huggingface.open_table(about["repository"], about["files"], about["split"], None)
    for one in huggingface.rows_of(table, about["repository"]):
        if one.id == about["id"]:
            audio = one.audio()
            if len(audio.wav) == about["samples"]:
                return audio
    raise MissingError(f"{about['repository']} no longer holds {about['id']} with {about['samples']} samples")


def _expected(stated: Mapping[str, Any]) -> NDArray[np.int64]:
    """Codes [K, N], from the list itself or from a fixture that is brought."""
    found = stated.get("codes", [])
    if url := stated.get("fixture"):
        kept = "verify/" + url.partition(".com/")[2]
        path = File(url.rpartition("/")[2], "Apache-2.0", 0, url=url, kept=kept).fetch(lambda name, count: None)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if where := stated.get("where"):
                found = next(one for one in found if all(one.get(key) == value for key, value in where.items()))
            for key in stated["at"]:
                found = found[key]
        except (ValueError, KeyError, IndexError, TypeError, StopIteration, RecursionError) as error:
            raise MissingError(f"{path} is not the expected file ({error!r}): delete it") from error
    codes = np.atleast_2d(np.array(found, np.int64))
    return codes.T if stated.get("transposed") else codes


# --- fingerprints ------------------------------------------------------------------------------------------------


def _recorded(spec: str, codec: Codec) -> Check:
    """A codec's codes of the built-in utterances, beside those that were recorded."""
    mine = codes_of(codec)
    found = fingerprint(mine)
    known = [one for one in fingerprints().get(spec, []) if one["weights"] == _digests(codec)]
    if not known and (release := _release_of(found)):
        said = f"{found[:12]}: all codes equal the recorded ones of {release}, whose files have other bytes"
        return Check(spec, "fingerprint", said, release == spec, "recorded codes of the built-in utterances")
    if not known:
        return Check(
            spec, "fingerprint", f"{found[:12]}; no codes are recorded for these weights (--record adds them)", None
        )
    if any(one["codes_sha256"] == found for one in known):
        count = sum(one.indices.size for one in mine.values() if one.indices is not None)
        return Check(spec, "fingerprint", f"{found[:12]}: all {count} codes equal", True, known[0]["recorded"])
    shares = [_share(_start(mine[id]), np.array(codes, np.int64)) for id, codes in known[0]["codes"].items()]
    share = float(np.mean(shares))
    said = f"{found[:12]}, recorded {known[0]['codes_sha256'][:12]}: {share:.1%} of the recorded codes are equal"
    return Check(spec, "fingerprint", said, share >= NEARLY, known[0]["recorded"])


def _release_of(found: str) -> str | None:
    """The codec that is recorded to make the codes with the hash `found`: which release a file is, whatever its name
    and bytes are."""
    return next(
        (spec for spec, some in fingerprints().items() if any(one["codes_sha256"] == found for one in some)), None
    )


def codes_of(codec: Codec) -> dict[str, Codes]:
    """Codes of the utterances that make a fingerprint."""
    chosen = {one.id: one.audio() for one in builtin.load() if one.id in UTTERANCES}
    return {id: codec.encode(audio.at(codec.sample_rate or audio.sample_rate).wav) for id, audio in chosen.items()}


def record(spec: str, weights: Path | None = None, to: Path | None = None) -> Path:
    """Add the fingerprint of the codec `spec` to the file `to`, by default the user's own; where it is now.

    Raises:
        UsageError: it is no codec, or has no codebooks.
        MissingError: its weights are not here.
    """
    choice = choose(spec)
    codec = choice.build() if weights is None else choice.family.build_from(weights, choice.rate, "cpu")  # type: ignore[attr-defined]
    codes = codes_of(codec)
    if not (found := fingerprint(codes)):
        raise UsageError(f"{choice.spec} has no codebooks: there are no codes to record")
    path = to or own_fingerprints()
    known = _read(path) if path.exists() else {}
    by = f"evalkit {package_version('nanocodec-evalkit')}, torch {package_version('torch')}, {processor()}"
    new = {
        "weights": _digests(codec),
        "codes_sha256": found,
        "codes": {id: _start(one).tolist() for id, one in codes.items()},
        "recorded": f"recorded {datetime.now(UTC):%Y-%m-%d} by {by}",
    }
    others = [one for one in known.get(choice.spec, []) if one["weights"] != new["weights"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(_dump(known | {choice.spec: [*others, new]}), encoding="utf-8")
    return path


def _start(codes: Codes) -> NDArray[np.int64]:
    assert codes.indices is not None
    return codes.indices[:BOOKS, :FRAMES]


def _digests(codec: Codec) -> list[str]:
    """sha256 of all files of weights, whatever they are called."""
    digests = codec.details.get("weights_sha256") or {}
    return sorted(digests.values()) if isinstance(digests, Mapping) else []


def own_fingerprints() -> Path:
    """Where those that were recorded on this machine are kept."""
    return data_folder() / "fingerprints.yaml"


def fingerprints() -> dict[str, list[dict[str, Any]]]:
    """Recorded ones by codec: those of this project, and those of this machine."""
    found = {spec: list(some) for spec, some in _config("fingerprints.yaml").items()}
    if own_fingerprints().exists():
        for spec, some in _read(own_fingerprints()).items():
            found[spec] = [*found.get(spec, []), *some]
    return found


def golden() -> dict[str, Any]:
    """What others state."""
    return _config("golden.yaml")


@cache
def _config(name: str) -> dict[str, Any]:
    import yaml

    found = yaml.safe_load((resources.files("evalkit.configs") / name).read_text(encoding="utf-8"))
    return found or {}


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read as recorded fingerprints ({error})") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no fingerprints")
    return found


def _dump(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """YAML in which each list of codes is one line."""
    lines = []
    for spec, some in sorted(found.items()):
        lines.append(f"{json.dumps(spec)}:")
        for one in some:
            lines += [
                f"  - weights: {json.dumps(one['weights'])}",
                f"    codes_sha256: {one['codes_sha256']}",
                f"    recorded: {json.dumps(one['recorded'])}",
                "    codes:",
                *(f"      {id}: {json.dumps(codes)}" for id, codes in one["codes"].items()),
            ]
    return "\n".join(lines) + "\n"
