"""The rooms: who may import whom, how deep the imports go, and the words that product code does not use."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef)
FOLDERS = {"evalkit": "evalkit", "baselines": "evalkit.baselines", "reports": "evalkit.reports"}
LONGEST = 10
"""Files that one chain of imports may run through."""
PICTURES = re.compile(r"\b(Course|Trip|Shelf|Passage|judge|Trainee|hear|heard)\b")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules() -> dict[str, Path]:
    found = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            if "examples" not in path.parts:
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


MODULES = modules()


def imports(name: str, lazy: bool) -> set[str]:
    """Modules of evalkit that the module `name` imports; with `lazy` also inside functions, never for types alone."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not lazy:
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
                base = ".".join([*above, *([child.module] if child.module else [])])
                names = (f"{base}.{alias.name}" for alias in child.names)
                found.update(each if each in MODULES else base for each in names)
            visit(child)

    visit(parsed(path))
    return {each for each in found if each in MODULES and each != name}


def test_no_circle_between_files_not_even_inside_functions() -> None:
    graph = {name: imports(name, lazy=True) for name in MODULES}
    done: set[str] = set()

    def follow(name: str, above: list[str]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for each in sorted(graph[name]):
                follow(each, [*above, name])
            done.add(name)

    for name in graph:
        follow(name, [])


def test_chains_of_imports_stay_short() -> None:
    graph = {name: imports(name, lazy=False) for name in MODULES}

    @cache
    def longest(name: str) -> tuple[str, ...]:
        return max(((name, *longest(each)) for each in graph[name]), key=len, default=(name,))

    chain = max(map(longest, graph), key=len)
    assert len(chain) <= LONGEST, " -> ".join(chain)


def test_nanocodec_knows_nothing_of_evalkit() -> None:
    for path in (ROOT / "nanocodec").rglob("*.py"):
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "evalkit" for name in names), path


def test_metrics_know_no_codec_and_reports_no_model() -> None:
    for name in MODULES:
        known = imports(name, lazy=True)
        if name.startswith("evalkit.metrics"):
            assert not any(each.startswith(("evalkit.baselines", "evalkit.pipeline")) for each in known), name
        if name.startswith("evalkit.reports"):
            assert not any(each.startswith(("evalkit.baselines", "evalkit.metrics.model")) for each in known), name


def test_paths_are_expanded_by_the_function_that_never_raises() -> None:
    found = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\.expanduser\(\)|Path\.home\(\)", path.read_text(encoding="utf-8"))
    ]
    assert not found, found


def test_names_are_the_fields() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("nanocodec", *FOLDERS)
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
        if PICTURES.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for folder in ("nanocodec", *FOLDERS):
        for path in (ROOT / folder).rglob("*.py"):
            if (
                path.stem.endswith("_model") or path.parent.name == "networks"
            ):  # layers, named as their authors name them
                continue
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert not shared, shared


def test_the_tree_in_the_readme_is_the_tree() -> None:
    """Every name in it is there, and every file of the folders that it shows file by file is in it."""
    tree = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where things are")[2].partition("\n\n")[2]
    named: dict[str, set[str]] = {}
    above = {4: "."}
    for line in takewhile(lambda line: line.startswith("    "), tree.splitlines()):
        depth = len(line) - len(line.lstrip())
        names = re.split(r" {2,}", line.strip())[0].split()
        for name in names:
            place = Path(above[depth]) / name
            assert (ROOT / place).is_dir() if name.endswith("/") else (ROOT / f"{place}.py").is_file(), line
            named.setdefault(above[depth], set()).add(name)
        above[depth + 2] = str(Path(above[depth]) / names[0])
    for folder in ("nanocodec", "evalkit", "evalkit/pipeline"):
        files = {path.stem for path in (ROOT / folder).glob("[!_]*.py")}
        folders = {f"{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")}
        assert named[folder] == files | folders, named[folder] ^ (files | folders)


def test_everything_public_says_what_it_is() -> None:
    """Public functions, classes and methods have docstrings, but for methods that a base or a protocol describes."""
    files = [path for folder in ("nanocodec", *FOLDERS) for path in (ROOT / folder).rglob("*.py")]
    trees = {path: parsed(path) for path in files if "examples" not in path.parts}
    found = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    classes = {node.name: node for node in found}

    def bases(node: ast.ClassDef) -> list[str]:
        return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]

    def methods(node: ast.ClassDef) -> set[str]:
        above = (classes[base] for base in bases(node) if base in classes and classes[base] is not node)
        return {child.name for child in node.body if isinstance(child, DEFINED)}.union(*map(methods, above))

    described = {"forward"}.union(*(methods(node) for node in found if {"Protocol", "ABC"} & {*bases(node)}))

    def assigned(node: ast.AST) -> bool:
        return any(
            isinstance(child, ast.Assign) and "__doc__" in ast.unparse(child) for child in ast.iter_child_nodes(node)
        )

    def silent(node: ast.Module | ast.ClassDef, place: str) -> Iterator[str]:
        above = bases(node) if isinstance(node, ast.ClassDef) else []
        known = described.union(*(methods(classes[base]) for base in above if base in classes))
        for child in node.body:
            if isinstance(child, (*DEFINED, ast.ClassDef)) and not child.name.startswith("_"):
                inherits = isinstance(node, ast.ClassDef) and child.name in known
                if not ast.get_docstring(child) and not inherits and not assigned(child):
                    yield f"{place}: {child.name}"
                if isinstance(child, ast.ClassDef):
                    yield from silent(child, f"{place}: {child.name}")

    missing = [each for path, tree in trees.items() for each in silent(tree, str(path.relative_to(ROOT)))]
    assert not missing, "\n".join(missing)
