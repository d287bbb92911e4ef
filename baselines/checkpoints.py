"""Files of tensors, opened without running what is in them."""

from pathlib import Path
from typing import Any

from evalkit.errors import MissingError


def read(path: Path, spec: str) -> Any:
    """What is in a safetensors file, or in a pickle of torch that holds tensors and plain containers alone.

    Args:
        path: The file.
        spec: What the codec is called, for messages.

    Returns:
        Tensors by name.

    Raises:
        MissingError: The file is damaged, or holds anything else.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, safetensors and torch each raise their own
        raise MissingError(f"{spec}: {path} cannot be opened as a checkpoint of tensors ({error})") from error
