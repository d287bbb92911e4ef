"""Claims and numbers of any paper, from a YAML file that follows configs/paper.schema.json."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from evalkit.errors import UsageError
from evalkit.files import expanded, read_bytes
from evalkit.schema import Document, read_document

from .published import Paper, Published


def shipped() -> dict[str, Any]:
    """The papers that come along, by name."""
    folder = files("evalkit.reports").joinpath("papers")
    found = {path.name.removesuffix(".yaml"): path for path in folder.iterdir() if path.name.endswith(".yaml")}
    return dict(sorted(found.items()))


def load_paper(name: str) -> Paper:
    """The paper that `name` names.

    Args:
        name: One that comes along (`shipped`), or a file.

    Returns:
        The paper.

    Raises:
        UsageError: There is no such file, or it is no description of a paper; the message names the line.
    """
    if name in (known := shipped()):
        return read_paper(known[name].read_text(encoding="utf-8"), f"{name}.yaml")
    path = expanded(name)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{name!r} is neither an included paper ({', '.join(known)}) nor a FILE.yaml")
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return read_paper(text, str(path))


def read_paper(text: str, source: str) -> Paper:
    """The paper that `text` describes.

    Args:
        text: YAML.
        source: Its file, for messages.

    Returns:
        The paper.

    Raises:
        UsageError: It does not follow the schema, or names what it does not define.
    """
    schema = json.loads(files("evalkit.configs").joinpath("paper.schema.json").read_text(encoding="utf-8"))
    document = read_document(text, source, schema)
    content = document.content
    names = {
        "systems": {key: {"rows": [], **about} for key, about in content["systems"].items()},
        "sets": {key: {"datasets": [], **about} for key, about in content["sets"].items()},
        "metrics": {key: {"metric": None, **about} for key, about in content["metrics"].items()},
    }
    numbers = tuple(_numbers(document, names))
    claims = tuple(_claim(document, names, line, place) for place, line in enumerate(content.get("claims", []), 1))
    if not numbers and not claims:
        raise UsageError(f"{source}: it has neither numbers nor claims")
    ids = [claim["id"] for claim in claims]
    if twice := next((one for one in ids if ids.count(one) > 1), None):
        raise UsageError(f"{document.where(twice) or source}: the id {twice} is given to two claims")
    return Paper(content["paper"], names, numbers, claims)


def _numbers(document: Document, names: Mapping[str, Any]) -> Iterator[Published]:
    for source in document.content.get("published", []):
        for line in source["values"]:
            _known(document, names, "systems", line["system"])
            _known(document, names, "sets", line["set"])
            n = int(line["n"]) if "n" in line else None
            for metric, value in line["scores"].items():
                _known(document, names, "metrics", metric)
                kind, said = source["kind"], source["source"]
                yield Published(line["system"], line["set"], metric, float(value), kind, said, n, line.get("mode"))


def _claim(document: Document, names: Mapping[str, Any], line: Mapping[str, Any], place: int) -> dict[str, Any]:
    pair = line.get("similar") or [line[key] for key in ("better", "worse") if key in line]
    where = document.where(line.get("id", "")) or f"{document.source}, claim {place}"
    if len(pair) != 2 or ("similar" in line) == ("better" in line) or ("similar" in line) != ("margin" in line):
        raise UsageError(f"{where}: a claim has better and worse, or similar (two systems) and a margin")
    for system in pair:
        _known(document, names, "systems", system)
    _known(document, names, "sets", line["set"])
    _known(document, names, "metrics", line["metric"])
    if "better" in line and names["metrics"][line["metric"]]["direction"] == "none":
        raise UsageError(f"{where}: {line['metric']} has no better direction")
    if line.get("margin", 1) <= 0:
        raise UsageError(f"{where}: margin must be above 0")
    return {"id": f"claim {place}", "kind": "stated", **line}


def _known(document: Document, names: Mapping[str, Any], kind: str, name: str) -> None:
    if name not in names[kind]:
        where = document.where(name) or document.source
        raise UsageError(f"{where}: {name!r} is not among the {kind} of the file: {', '.join(names[kind])}")
