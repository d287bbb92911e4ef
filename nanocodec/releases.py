"""The released checkpoints, pinned, and how they come to this machine.

NVIDIA publishes them on the Hugging Face hub. Downloading needs the optional package huggingface_hub (the extra
`hub`); once a file is in its cache, or given by path, nothing else is needed.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nanocodec.errors import CheckpointError, MissingWeightsError

EXTRA = "pip install 'nanocodec-evalkit[hub]'"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReleasedFile:
    """One published file: where, at which revision, and its sha256 where that has been recorded."""

    repository: str
    file: str
    revision: str
    license: str
    sha256: str | None = None

    @property
    def command(self) -> str:
        """The command that brings the file into the cache, or anywhere with `--local-dir`."""
        return f"hf download {self.repository} {self.file} --revision {self.revision}"


_OPEN_MODEL = "NVIDIA Open Model License"


def _nano(rate: str, revision: str, sha256: str | None = None) -> ReleasedFile:
    name = f"nemo-nano-codec-22khz-{rate}"
    return ReleasedFile(f"nvidia/{name}", f"{name}.nemo", revision, _OPEN_MODEL, sha256)


RELEASES: dict[str, ReleasedFile] = {
    "0.6k": _nano(
        "0.6kbps-12.5fps",
        "5c8e22ed763c14d81337fbe6ca74062f3d10f7e5",
        "bd5883099d0c74ceda760b6b7a1600b86da4d8a02531c9c282679951dcb08870",
    ),
    # No sha256 of this one has been recorded by anyone this project could read; the revision pins it.
    "1.78k": _nano("1.78kbps-12.5fps", "c4ab84a92c8d36a8b5a79eaea807cfaf7f03ed86"),
    "1.89k": _nano(
        "1.89kbps-21.5fps",
        "fc00890b604aa2de298d2641ffc6c5f6caf8c4d7",
        "28c2518de3e3d5a2c7d9bca40a7ebc0644eb76c60b890970365325bdd8e9f099",
    ),
    "lfsc": ReleasedFile(
        "nvidia/low-frame-rate-speech-codec-22khz",
        "low-frame-rate-speech-codec-22khz.nemo",
        "1d7c8f669f231249b7183c910726102d1c94e650",
        "NSCLv1 (NVIDIA Source Code License, non-commercial)",
        "49b80f0200dc3282de5ad05c2e10fb5b6a1fe08916027469a048a54f7ec4dc33",
    ),
}


def cached(variant: str) -> Path | None:
    """The file of the release called `variant` where it is on this machine; never touches the network.

    Found in huggingface_hub's cache by its layout, so that the package itself is not needed for reading.
    """
    release = RELEASES[variant]
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    snapshots = hub / f"models--{release.repository.replace('/', '--')}" / "snapshots"
    found = sorted(snapshots.glob(f"{release.revision}*/{release.file}"))
    return found[0] if found else None


def fetch(variant: str) -> Path:
    """Get the file of a release, from the cache or else downloaded at its pinned revision.

    Args:
        variant: a key of `RELEASES`.

    Returns:
        The file, whose sha256 was compared with the recorded one, where there is one.

    Raises:
        MissingWeightsError: not cached and not to be had now; names file, revision and the command.
        CheckpointError: the file is not the one whose sha256 was recorded.
    """
    release = RELEASES[variant]
    path = cached(variant)
    if path is None:
        _log.warning("downloading %s from %s (%s)", release.file, release.repository, release.license)
        path = _download(variant, release)
    if release.sha256 and (found := sha256(path)) != release.sha256:
        raise CheckpointError(
            f"{path}: sha256 {found}, but {release.file} at revision {release.revision} has {release.sha256}; "
            "delete it and fetch it again"
        )
    return path


def _download(variant: str, release: ReleasedFile) -> Path:
    what = f"weights of {variant!r}: {release.file} at revision {release.revision} of {release.repository}"
    if find_spec("huggingface_hub") is None:
        raise MissingWeightsError(f"{what} are not on this machine; get them with: {EXTRA} && {release.command}")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(release.repository, release.file, revision=release.revision))
    except Exception as error:  # offline, gated, gone: the package has a class for each, and they change
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise MissingWeightsError(
            f"{what} cannot be downloaded now ({reason}); online, run: {release.command}"
        ) from error


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
