"""Where things lie on this machine: evalkit's own, and the caches that it shares with other programs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where the cache lies unless a run says otherwise."""
    if chosen := os.environ.get("EVALKIT_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("evalkit", appauthor=False)


def data_folder() -> Path:
    """Where data lie that are named without a folder: `EVALKIT_DATA`, or `evalkit` in the user's data folder."""
    if (folder := os.environ.get("EVALKIT_DATA")) is not None:
        return Path(folder).expanduser()
    from platformdirs import user_data_path

    return user_data_path("evalkit", appauthor=False)


def hub_folder() -> Path:
    """Where huggingface_hub keeps what it downloaded."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def torch_hub() -> Path:
    """Where torch.hub keeps what it downloaded."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return Path(home).expanduser() / "hub"
