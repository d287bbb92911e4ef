"""Results as the Hugging Face hub takes them: `.eval_results/*.yaml` and the older `model-index` of a model card."""

from collections.abc import Mapping
from math import isnan
from typing import Any

import yaml

from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Settings, summarize

TASK = "audio-to-audio"
"""The hub's task that a speech codec performs."""


def hub_results(
    run: Run, codec: str, datasets: Mapping[str, str] | None = None, source: str = "", settings: Settings = DEFAULTS
) -> dict[str, list[dict[str, Any]]]:
    """What `run` measured of `codec`, in both of the hub's forms.

    Args:
        run: A run directory that was read.
        codec: As the rows name it.
        datasets: OWNER/NAME on the hub by dataset of the run; `hub:OWNER/NAME` needs no entry.
        source: Address of the evidence, such as a leaderboard.
        settings: How intervals are computed.

    Returns:
        "eval_results": an entry for each metric of a dataset that is on the hub; "model-index": one model with all.
    """
    rows = run.rows[(run.rows["codec"] == codec) & (run.rows["utterance"] != CORPUS)]
    described = run.provenance.metrics
    about = run.provenance
    entries, results = [], []
    for dataset, part in rows.groupby("dataset", sort=False):
        home = {**(datasets or {})}.get(str(dataset)) or _home(str(dataset))
        # The revision is the hub's own only of data that came from there.
        revision = about.dataset.revision if str(dataset).startswith("hub:") else None
        metrics = []
        for line in summarize(part, settings).itertuples(index=False):
            if line.metric not in described or isnan(line.mean):
                continue
            value = round(line.mean, described[line.metric].decimals + 2)
            notes = f"mean of {line.n} utterances, {line.n_failed} failed"
            if not isnan(line.ci_low):
                digits = described[line.metric].decimals
                notes += f"; {settings.level:.0%} interval {line.ci_low:.{digits}f} to {line.ci_high:.{digits}f}"
            notes += f"; evalkit {about.evalkit}, {line.metric} version {described[line.metric].version}"
            args = {"n": int(line.n), "n_failed": int(line.n_failed)}
            metrics.append({"type": line.metric, "name": described[line.metric].label, "value": value, "args": args})
            if home:
                entry: dict[str, Any] = {"dataset": {"id": home, "task_id": line.metric}, "value": value}
                entry["dataset"] |= {"revision": revision} if revision else {}
                entry |= {"date": about.started} if about.started else {}
                entry |= {"source": {"url": source, "name": "evalkit"}} if source else {}
                entries.append(entry | {"notes": notes})
        if metrics:
            where = {"type": home or str(dataset), "name": str(dataset)} | ({"revision": revision} if revision else {})
            result: dict[str, Any] = {"task": {"type": TASK, "name": "speech coding"}, "dataset": where}
            result["metrics"] = metrics
            result |= {"source": {"url": source, "name": "evalkit"}} if source else {}
            results.append(result)
    return {"eval_results": entries, "model-index": [{"name": codec, "results": results}]}


def eval_results_yaml(found: Mapping[str, list[dict[str, Any]]]) -> str:
    """A file for `.eval_results/` of the model's repository; "" where no dataset is on the hub."""
    head = (
        "# For .eval_results/ of the model's repository. The Hub shows entries whose dataset is registered there as a\n"
        "# benchmark that has their task_id.\n"
    )
    return head + _dump(found["eval_results"]) if found["eval_results"] else ""


def model_index_yaml(found: Mapping[str, list[dict[str, Any]]]) -> str:
    """The lines for the head of a model card (README.md)."""
    return _dump({"model-index": found["model-index"]})


def _dump(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _home(dataset: str) -> str:
    """OWNER/NAME of data that were read from the hub."""
    kind, _, name = dataset.partition(":")
    return name if kind == "hub" else ""
