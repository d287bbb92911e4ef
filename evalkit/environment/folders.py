"""Where things lie on this machine: evalkit's own, and the caches that it shares with other programs."""

import os
from collections.abc import Callable
from pathlib import Path

from evalkit.files import expanded


def cache_folder() -> Path:
    """Where the cache lies unless a run says otherwise."""
    if chosen := os.environ.get("EVALKIT_CACHE"):
        return expanded(chosen)
    from platformdirs import user_cache_path

    return _own(user_cache_path, "~/.cache/evalkit")


def data_folder() -> Path:
    """Where data lie that are named without a folder: `EVALKIT_DATA`, or `evalkit` in the user's data folder."""
    if (folder := os.environ.get("EVALKIT_DATA")) is not None:
        return expanded(folder)
    from platformdirs import user_data_path

    return _own(user_data_path, "~/.local/share/evalkit")


def hub_folder() -> Path:
    """Where huggingface_hub keeps what it downloaded."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return _below_home(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def torch_hub() -> Path:
    """Where torch.hub keeps what it downloaded."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return _below_home(Path(home) / "hub")


def home_folder() -> Path:
    """The user's home folder."""
    return _below_home("~")


def _own(find: Callable[..., Path], without_home: str) -> Path:
    """evalkit's folder among those that `find` of platformdirs gives, which raises for a user without a home."""
    try:
        return find("evalkit", appauthor=False)
    except RuntimeError:
        return _below_home(without_home)


def _below_home(path: Path | str) -> Path:
    """`path`, where `~` is the root folder for a user without a home, as in containers: nobody wants a folder `~`."""
    path = expanded(path)
    return Path("/", *path.parts[1:]) if path.parts[:1] == ("~",) else path
