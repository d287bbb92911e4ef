"""What the package may import: nothing of evalkit, and no torch before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nanocodec

PACKAGE = Path(nanocodec.__file__).parent


def imported(source: str) -> set[str]:
    """Top-level names of all that a module imports, wherever in it, by statement or by a literal name."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__", "find_spec", "files"):
                names.add(str(node.args[0].value))
    return {name.split(".")[0] for name in names}


def test_the_check_sees_every_kind_of_import() -> None:
    for source in (
        "import evalkit",
        "def f():\n    from evalkit.metrics import mel",
        "import importlib\nimportlib.import_module('evalkit.audio')",
        "from importlib import resources\nresources.files('evalkit.configs')",
        "if 0:\n    import evalkit.audio as a",
    ):
        assert "evalkit" in imported(source), source
    assert imported("from nanocodec import evalkit_free") == {"nanocodec"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_of_evalkit_is_imported(path: Path) -> None:
    assert "evalkit" not in imported(path.read_text(encoding="utf-8"))


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, nanocodec; nanocodec.get_config('1.1k'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mel_filters_cost_no_import_of_torch() -> None:
    code = "import sys, nanocodec.mel, nanocodec.atomic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loading_weights_does_not_import_torchs_compiler() -> None:
    """Some operations on the meta device do, for 3 s of every run."""
    code = (
        "import sys; from nanocodec.model import NanoCodec as N; N.builtin(); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
