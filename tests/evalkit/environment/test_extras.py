"""Packages that are absent or do not load: what still works, and what is said."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.environment import extras
from evalkit.errors import MissingError


@pytest.fixture
def torchaudio_beside_another_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torchaudio whose library does not load, as the index's wheel beside a CPU build of torch."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    package = tmp_path / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import _extension\nfrom ._extension import fail_if_no_align\n")
    (package / "_extension" / "__init__.py").write_text("raise OSError('libc10_cuda.so: cannot open')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]


def test_torchaudio_works_without_its_library(torchaudio_beside_another_torch: None) -> None:
    with pytest.raises(OSError, match="libc10_cuda"):
        import torchaudio  # noqa: F401
    with pytest.raises(RuntimeError, match="forced alignment"):
        extras.load_torchaudio().fail_if_no_align(len)()


def test_transformers_never_meets_the_broken_library(
    torchaudio_beside_another_torch: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "transformers.py").write_text("import torchaudio\n")
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    assert Path(extras.load_transformers().__file__) == tmp_path / "transformers.py"
    del sys.modules["transformers"]


def test_what_is_absent_is_named_with_its_extra() -> None:
    with pytest.raises(MissingError, match=r"no_such_package cannot be used \(.*\): pip install .*\[models\]"):
        extras.load("no_such_package", "models")
