"""Packages that a baseline needs and that may not be installed."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from evalkit.codecs import READY, State
from evalkit.errors import MissingError

CLASSICAL = "pip install 'nanocodec-evalkit[classical]'"
"""Brings Opus and Codec2."""
MODELS = "pip install 'nanocodec-evalkit[models]'"
"""Brings transformers and snac."""
HUB = "pip install 'nanocodec-evalkit[hub]'"
"""Brings huggingface_hub, for downloads."""


def state(package: str, remedy: str) -> State:
    """Ready where `package` is installed; imports nothing."""
    return READY if find_spec(package) else State("needs extra", remedy)


def load(package: str, remedy: str) -> Any:
    """The imported `package`; raises MissingError with the remedy where it is absent or does not load."""
    try:
        return import_module(package)
    except (ImportError, OSError) as error:  # a shared library that does not load raises OSError
        raise MissingError(f"the package {package} cannot be used ({error}). {remedy}") from error
