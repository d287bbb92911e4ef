"""Packages that may not be installed: the one place that imports them, or says how to get them.

torchaudio's wheels are linked to CUDA, so that beside a CPU build of torch its import raises OSError, and that of
whatever imports it (speechbrain, transformers) as well. What is needed of it is plain Python. So the real import comes
first; where that fails on the library, it is tried again with a stand-in for `torchaudio._extension`, the module that
loads it, which says that there is no library. Then resampling, features and models work; what needs the library
(forced alignment) says that it is not there. A release of torchaudio without that module would fail as before.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from evalkit.environment.availability import READY, Availability
from evalkit.errors import MissingError


def install(extra: str) -> str:
    """The command that installs one of this project's extras."""
    return f"pip install 'nanocodec-evalkit[{extra}]'"


def availability(package: str, extra: str) -> Availability:
    """Ready where `package` is installed; imports nothing."""
    return READY if find_spec(package) else Availability("needs extra", install(extra))


def hub_first() -> str:
    """A sentence for remedies that download from the Hugging Face hub, with a space after it: the package that must be
    installed before. Empty where it is."""
    here = sys.modules.get("huggingface_hub") or find_spec("huggingface_hub")
    return "" if here else f"Downloading from the Hugging Face Hub needs a package: {install('hub')}. "


def check_version(package: str, least: str, extra: str) -> None:
    """Raises MissingError where the installed `package` is older than version `least`, such as `5.17`."""
    found = version(package)
    if [int(part) for part in found.split(".")[:2]] < [int(part) for part in least.split(".")]:
        raise MissingError(f"{package} {found} is too old: evalkit needs {least} or newer. {install(extra)} --upgrade")


def load(name: str, extra: str) -> Any:
    """The imported package or module; raises MissingError with the remedy where it is absent or does not load."""
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # a shared library that does not load raises OSError
        raise MissingError(f"{name} cannot be used ({error}): {install(extra)}") from error


def load_transformers() -> Any:
    """transformers, which imports torchaudio where that is installed; raises MissingError as `load` does."""
    if find_spec("torchaudio"):
        load_torchaudio()
    return load("transformers", "models")


@contextmanager
def quiet_transformers() -> Iterator[Any]:
    """transformers, whose progress bars stay away while a model is opened."""
    transformers = load_transformers()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        if bars:
            transformers.utils.logging.enable_progress_bar()


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Imports of the package `name` give an empty module: for what imports it and makes no use of it here."""
    before = {key: module for key, module in sys.modules.items() if key.split(".")[0] == name}
    for key in before:
        del sys.modules[key]
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(before)


def load_torchaudio() -> Any:
    """torchaudio, with its library or without; raises MissingError where it cannot be imported at all."""
    try:
        return import_module("torchaudio")
    except ImportError as error:
        raise MissingError("torchaudio is not installed: pip install --no-deps torchaudio") from error
    except (OSError, RuntimeError):  # the library does not load, or is of another CUDA than torch
        _forget()
    sys.modules["torchaudio._extension"] = _without_library()
    try:
        return import_module("torchaudio")
    except (ImportError, OSError, RuntimeError) as error:
        _forget()
        remedy = "evalkit does not need it: pip uninstall torchaudio"
        raise MissingError(f"torchaudio does not work with this torch ({error}); {remedy}") from error


def _forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]


def _without_library() -> ModuleType:
    module = ModuleType("torchaudio._extension")

    def fail_if_no_align(function: Any) -> Any:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("torchaudio runs without its native library here: forced alignment is not available")

        return fail

    module._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    module._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    module.fail_if_no_align = fail_if_no_align  # type: ignore[attr-defined]
    module._check_cuda_version = lambda: None  # type: ignore[attr-defined]
    return module
