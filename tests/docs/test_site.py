"""The documentation: what it takes from the program, and where its links lead. `make docs` builds it strictly."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml

from evalkit import plugins

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(text: str, hooks: ModuleType, source: str = "howto/page.md", repo: str = "") -> str:
    markdown: str = hooks.on_page_markdown(
        text, SimpleNamespace(file=SimpleNamespace(src_uri=source)), {"repo_url": repo}, ()
    )
    return markdown


def test_every_metric_is_described_with_range_source_and_what_it_misses(hooks: ModuleType) -> None:
    text = "\n".join(hooks.metrics())
    for name in plugins.names("metric"):
        assert f"| [`{name}`](#" in text and f"| `{name}` |" in text, name
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    for section in sections:
        for title in ("Range", "Misses"):
            assert f"**{title}.**" in section, f"{section.splitlines()[0]} has no {title}"
    anchors = set(re.findall(r"\{ #([^ ]+) \}", text))
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) == anchors


def test_typical_values_are_means_of_what_was_measured(hooks: ModuleType) -> None:
    (line,) = [line for line in hooks.typical()["pesq-wb"] if "45 MLS utterances" in line]
    assert "wavtokenizer@0.9k 1.849" in line and "lfsc@1.89k 2.754" in line
    assert not any(re.search(r"\bnan\b", line) for lines in hooks.typical().values() for line in lines)


def test_metrics_show_the_extra_and_the_download_size_that_they_need(hooks: ModuleType) -> None:
    text = "\n".join(hooks.metrics())
    assert re.search(r"\[`visqol-speech`\].*\| `\[visqol\]` \|", text)
    assert "File: `adapt_nr_synthetic.onnx`, size not known, MIT" in text


def test_every_codec_and_command_is_there(hooks: ModuleType) -> None:
    text = "\n".join(hooks.codecs())
    assert all(f"\n## {name}\n" in text for name in plugins.names("codec"))
    text = "\n".join(hooks.cli())
    assert all(f"### {command}\n" in text for command in ("evalkit run", "evalkit gate", "nanocodec train"))


def test_links_that_leave_the_site_lead_to_the_repository_or_are_text(hooks: ModuleType) -> None:
    text = "See [the rows](../../reports/examples/authors-demo/README.md), [pairs](../explanation/pairing.md), [x](https://x.org)."
    assert page(text, hooks) == (
        "See the rows (`reports/examples/authors-demo/README.md`), [pairs](../explanation/pairing.md), [x](https://x.org)."
    )
    found = page(text, hooks, repo="https://example.org/repo")
    assert "[the rows](https://example.org/repo/blob/main/reports/examples/authors-demo/README.md)" in found
    with pytest.raises(FileNotFoundError, match="gone"):
        page("[gone](../../gone.md)", hooks)


def test_links_of_readme_and_pages_lead_somewhere() -> None:
    """Also as they are read in the repository, where no site is built."""
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")):
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", text):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(
        re.findall(r": ([\w/.-]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.M)
    )
    pages = {path.relative_to(DOCS).as_posix() for kind in ("md", "ipynb") for path in DOCS.rglob(f"*.{kind}")}
    assert {name for name in pages if not name.startswith("decisions/") and "/runs/" not in name} == listed


def test_the_version_stands_in_one_place() -> None:
    from evalkit import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert 'version = { attr = "evalkit.__version__" }' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_notebooks_ran_to_their_end() -> None:
    import json

    for path in DOCS.glob("notebooks/*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), path.name
        assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
