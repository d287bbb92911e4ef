"""Decoded audio that waits to be scored."""

from pathlib import Path
from tempfile import TemporaryDirectory

from evalkit.pipeline.jobs import Source
from evalkit.soundfiles import write


class TemporaryAudio:
    """Keeps audio on disk, in a folder that is removed in the end; used in a `with` statement."""

    def __enter__(self) -> "TemporaryAudio":
        self._folder = TemporaryDirectory(prefix="evalkit-", ignore_cleanup_errors=True)
        self._count = 0
        return self

    def store(self, decoded: Source) -> Source:
        """The same audio, in a file."""
        if isinstance(decoded.content, Path):
            return decoded
        self._count += 1
        path = Path(self._folder.name) / f"{self._count}.wav"
        write(path, decoded.audio())
        return Source(path, decoded.identity)

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()
