"""What the documentation site takes from the program itself.

Where a page says `<!-- generated: NAME -->`: metrics, codecs and data from the registries, the command line from its
parsers, the changelog. Links that leave docs/ lead to the repository or, where its address is not known, are text.
"""

import argparse
import csv
import inspect
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "100"  # as wide as argparse prints here

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MARK = re.compile(r"<!-- generated: ([a-z]+) -->")
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]*)(#[^)\s]*)?\)")
SECTION = re.compile(r"^(Range|Source|Misses|Undefined|Options|Example):\n", re.MULTILINE)
TYPICAL = DOCS / "reference" / "typical.csv"
MEANS = DOCS / "reference" / "typical-means.csv"
"""Means that were measured on audio which is not part of the project, so that its rows are not here."""
NONE_TYPICAL = "None yet: not measured by this project, and not published with this definition by any source it cites."


def on_config(config: Any) -> Any:
    """Every decision record is a page of the explanation."""
    paths = sorted(DOCS.glob("decisions/*.md"))
    explanation = next(part["Explanation"] for part in config["nav"] if "Explanation" in part)
    explanation.append({"Decisions": [path.relative_to(DOCS).as_posix() for path in paths]})
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    markdown = MARK.sub(lambda found: "\n".join(GENERATED[found[1]]()), markdown)
    here = DOCS / Path(page.file.src_uri).parent

    def resolve(found: re.Match[str]) -> str:
        image, words, target, anchor = found.groups()
        path = (here / target).resolve()
        if path.is_relative_to(DOCS) or not target:
            return found[0]
        if not path.exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {target}, which does not exist")
        inside = path.relative_to(ROOT).as_posix()
        if not config["repo_url"]:
            return f"{words} (`{inside}`)"
        return f"{image}[{words}]({config['repo_url'].rstrip('/')}/blob/main/{inside}{anchor or ''})"

    return LINK.sub(resolve, markdown)


# --- metrics -----------------------------------------------------------------------------------------------------


def metrics() -> Iterator[str]:
    """A table of all, then a section for each class with what its docstring says and its variants."""
    from evalkit import plugins
    from evalkit.metrics.base import PairMetric
    from evalkit.metrics.model import ModelMetric
    from evalkit.pipeline.suites import metric_suites

    found = [plugins.load("metric", name) for name in plugins.names("metric")]
    classes: dict[type, list[Any]] = defaultdict(list)
    for metric in found:
        classes[type(metric)].append(metric)
    yield "| metric | range | better | unit | needs |"
    yield "|---|---|---|---|---|"
    for metric in found:
        extra = metric.extra if isinstance(metric, ModelMetric) and metric.packages else _extra_of(metric)
        needs = " ".join(
            [f"`[{extra}]`"] * bool(extra) + ["a download"] * bool(isinstance(metric, ModelMetric) and metric.files)
        )
        yield (
            f"| [`{metric.name}`](#{classes[type(metric)][0].name}) | {_range(metric)} | "
            f"{_better(metric)} | {metric.unit or '–'} | {needs or '–'} |"
        )
    yield "\nNamed sets for `--metrics`:\n"
    for name, members in metric_suites().items():
        yield f"- `{name}`: " + ", ".join(f"`{member}`" for member in members)
    values = typical()
    for kind, some in sorted(classes.items(), key=lambda item: item[1][0].name):
        yield f"\n## {', '.join(metric.name for metric in some)} {{ #{some[0].name} }}\n"
        yield from _docstring(inspect.getdoc(kind) or "")
        yield "| metric | column | range | better | unit | rate | longest | version |"
        yield "|---|---|---|---|---|---|---|---|"
        for metric in some:
            rate, longest = "–", "–"  # metrics of codes have neither
            if isinstance(metric, PairMetric):
                rate, longest = f"{metric.rate / 1000:g} kHz", f"{metric.max_seconds / 60:g} min"
            yield (
                f"| `{metric.name}` | {metric.label} | {_range(metric)} | {_better(metric)} | {metric.unit or '–'} | "
                f"{rate} | {longest} | {metric.version} |"
            )
        files = {str(file): file for m in some if isinstance(m, ModelMetric) for file in m.files}
        for name, file in files.items():
            yield f"\nFile: `{name}`, {file.size_text}, {file.license}"
        notes = dict.fromkeys(metric.note for metric in some if metric.note)
        for note in notes:
            yield f"\n!!! note\n    {note}\n"
        lines = [line for metric in some for line in values.get(metric.name, ())]
        yield "\n**Typical values.** " + ("" if lines else NONE_TYPICAL)
        if lines:
            yield "\n| metric | audio | values |\n|---|---|---|"
            yield from lines


def typical() -> dict[str, list[str]]:
    """Lines of a table by metric: what this project measured, and what is published."""
    from evalkit.reports.published import names, published

    measured: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path, audio in (
        (ROOT / "reports/examples/authors-demo/rows.csv", "the authors' demo page, 45 MLS utterances"),
        (TYPICAL, "8 synthesized utterances of the built-in set"),
    ):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["value"]:
                    measured[row["metric"], audio][row["codec"]].append(float(row["value"]))
    with MEANS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            measured[row["metric"], row["audio"]][row["codec"]].append(float(row["mean"]))
    lines: dict[str, list[str]] = defaultdict(list)
    for (metric, audio), codecs in measured.items():
        means = sorted((sum(values) / len(values), codec) for codec, values in codecs.items())
        if len(means) > 4:
            means = [means[0], means[len(means) // 2], means[-1]]
        most = max(map(len, codecs.values()))
        fewer = {codec: f" (n = {len(values)})" for codec, values in codecs.items() if len(values) < most}
        shown = ", ".join(f"{_escape(codec)} {_mean(mean)}{fewer.get(codec, '')}" for mean, codec in means)
        lines[metric].append(f"| `{metric}` | {audio} | {shown} |")
    for metric, values in _of_protocols().items():
        lines[metric].append(f"| `{metric}` | 4 English utterances of the built-in set | {values} |")
    said: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for number in published():
        if number.kind != "re-measured":
            said[number.metric, number.set, number.source].append(number.value)
    for key, about in names()["metrics"].items():
        for (metric, where, source), values in said.items():
            if metric == key and about["metric"]:
                span = f"{values[0]:.4g} (1 system)"
                if len(values) > 1:
                    span = f"{min(values):.4g} to {max(values):.4g} ({len(values)} systems)"
                lines[about["metric"]].append(
                    f"| `{about['metric']}` | {where}, published: {_escape(source)} | {span} |"
                )
    for name, (where, published_values) in _published_by_the_field().items():
        low, high = (f"{end:.4g}" for end in (min(published_values), max(published_values)))
        lines[name].append(
            f"| `{name}` | {_escape(where)}, published, codecs up to 2.5 kbit/s | "
            f"{low} to {high} ({len(published_values)} values) |"
        )
    return lines


def _mean(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _of_protocols() -> dict[str, str]:
    """What explanation/protocols.md measures, for metrics that have no other values of ours."""
    text = (DOCS / "explanation" / "protocols.md").read_text(encoding="utf-8")
    head = re.search(r"^\| metric \| definition \|(.*)\|$", text, re.MULTILINE)
    assert head is not None, "protocols.md has lost its table"
    codecs = [name.strip() for name in head[1].split("|")]
    found = {}
    for name, cells in re.findall(r"^\| [^|]+ \| `([\w-]+)`[^|]*\|([-\d. |]+)\|$", text, re.MULTILINE):
        if name.startswith(("visqol", "mcd-world")):
            found[name] = ", ".join(f"{codec} {v.strip()}" for codec, v in zip(codecs, cells.split("|"), strict=True))
    return found


def _published_by_the_field() -> dict[str, tuple[str, list[float]]]:
    """For each metric the dataset with most published values, and these: codecs only, copied values left out."""
    from evalkit import plugins
    from evalkit.reports.field import claims, field

    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    known = set(plugins.names("metric"))
    for claim in claims():
        name = claim.metric.removesuffix("-corpus")
        if name in known and not claim.copied and claim.codec != "ground truth" and claim.set != "unknown":
            found[name][field()["sets"][claim.set]["label"]].append(claim.value)
    return {name: max(sets.items(), key=lambda item: len(item[1])) for name, sets in found.items()}


def _docstring(text: str) -> Iterator[str]:
    """Google's sections as paragraphs that begin in bold, the example as code."""
    head, *rest = SECTION.split(text)
    yield head + "\n"
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        body = inspect.cleandoc(body)
        yield f"```python\n{body}\n```\n" if title == "Example" else f"**{title}.** {body}\n"


def _extra_of(metric: Any) -> str:
    """The extra that a metric without a model needs: it is called like the metric's module."""
    module = type(metric).__module__.rpartition(".")[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return module if module in project["optional-dependencies"] else ""


def _range(metric: Any) -> str:
    low, high = (f"{end:g}".replace("inf", "∞").replace("-", "−") for end in (metric.low, metric.high))
    return f"{low} to {high}"


def _better(metric: Any) -> str:
    return {"up": "higher", "down": "lower", "none": "–"}[metric.direction]


# --- codecs and data ---------------------------------------------------------------------------------------------


def codecs() -> Iterator[str]:
    """A section for each family: what its module says, and a line for each rate."""
    from evalkit import plugins
    from evalkit.environment.listing import list_codecs

    columns, rows = list_codecs()
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        one = dict(zip(columns, row, strict=True))
        families[one["codec"].partition("@")[0]].append(one)
    for name, some in families.items():
        module = inspect.getmodule(type(plugins.load("codec", name)))
        about = inspect.getdoc(_module_of(name)) or inspect.getdoc(module) or ""
        if _module_of(name).__name__.endswith(".declared"):  # one module for all of them: say what differs
            why = some[0]["remedy"].partition(": add --rendered")[0]
            about = (
                f"Does not run here: {why}.\n\n`evalkit run --codec {name} --rendered DIR` scores its decoded audio."
            )
        yield f"\n## {name}\n\n{about}\n"
        yield "| codec | kbit/s | kHz | frames/s | codebooks | parameters | causal decoder | code | weights |"
        yield "|---|---|---|---|---|---|---|---|---|"
        for one in some:
            books = one["codebook_sizes"] or []
            shown = f"{len(books)} × {books[0]}" if len(set(books)) == 1 else ", ".join(map(str, books)) or "–"
            weights = " – ".join(filter(None, (one["weights_license"], one["weights"]))) or "–"
            yield (
                f"| `{one['codec']}` | {_number(one['bit/s'], 1000)} | {_number(one['sample_rate'], 1000)} | "
                f"{_number(one['frame_rate'])} | {shown} | "
                f"{_number(one['parameters'], 1e6)}{'M' if one['parameters'] else ''} | "
                f"{ {True: 'yes', False: 'no', None: '–'}[one['causal']] } | {one['code_license'] or '–'} | "
                f"{_escape(weights)} |"
            )


def _module_of(name: str) -> Any:
    from importlib import import_module
    from importlib.metadata import entry_points

    return import_module(next(p for p in entry_points(group="evalkit.codecs") if p.name == name).module)


def _number(value: float | None, unit: float = 1) -> str:
    return "–" if value is None else f"{value / unit:.4g}"


def data() -> Iterator[str]:
    from evalkit import datasets, plugins

    yield "| dataset | `--dataset` | what | license |"
    yield "|---|---|---|---|"
    for name in plugins.names("dataset"):
        loader = datasets.loader(name)
        yield f"| `{name}` | `{loader.usage or name}` | {_escape(loader.about)} | {loader.license or '–'} |"


# --- the command line and the changelog --------------------------------------------------------------------------


def cli() -> Iterator[str]:
    from evalkit.cli import parser
    from nanocodec.cli import _parser

    for top in (parser(), _parser()):
        yield f"\n## {top.prog}\n\n```text\n{top.format_help()}```\n"
        for name, command in _commands(top).items():
            yield f"\n### {top.prog} {name}\n\n```text\n{command.format_help()}```\n"


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(next(found).choices)


def changelog() -> Iterator[str]:
    yield (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


GENERATED = {"metrics": metrics, "codecs": codecs, "data": data, "cli": cli, "changelog": changelog}
