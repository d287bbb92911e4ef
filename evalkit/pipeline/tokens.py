"""Codes under a condition, compared with those of clean audio."""

from collections.abc import Sequence

from evalkit.codecs import Codes
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import TokenMetric
from evalkit.metrics.load import load_metric
from evalkit.pipeline.jobs import RowScore
from evalkit.results.rows import CLEAN

EDGE = 0.6
"""Seconds at both ends that are left alone where codes are displaced: what lies there had other neighbours. NanoCodec's
encoder sees 0.54 s to either side."""


class TokenComparison:
    """Keeps the codes of clean audio, and compares others with them by the metrics of a run."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = [metric for name in metrics if isinstance(metric := load_metric(name), TokenMetric)]
        self._system = ""
        self._clean: dict[str, Codes | None] = {}
        """By utterance, of the system in work."""
        self.notes: dict[str, None] = {}
        """Sentences on what cannot be compared at all."""

    @property
    def rows(self) -> list[str]:
        """Names of the rows that every utterance has under a condition."""
        return [metric.name for metric in self._metrics]

    def scores(
        self,
        system: str,
        utterance: str,
        condition: str,
        tokens: Codes | None,
        offset: float | None,
        frame_rate: float | None,
    ) -> list[RowScore]:
        """What `tokens` under `condition` score beside those of the clean `utterance`, which come first.

        Args:
            system: Whose codes they are.
            utterance: Its id.
            condition: Its name.
            tokens: Indices [K, N]; None for a bitstream without fields.
            offset: Frames by which they lie behind those of clean audio; None where the two do not correspond.
            frame_rate: Frames a second.
        """
        if not self._metrics:
            return []
        if system != self._system:
            self._system, self._clean = system, {}
        if condition == CLEAN:
            self._clean[utterance] = tokens
            return []
        names = " and ".join(self.rows)
        if tokens is None:
            self.notes[f"{system} has its own bitstream, so there is no {names}."] = None
            return []
        if offset is None:
            self.notes[f"{condition}: its frames do not match those of clean audio, so there is no {names}."] = None
            return []
        found: list[RowScore] = []
        for metric in self._metrics:
            try:
                pair = _aligned(tokens, self._clean.get(utterance), offset, frame_rate)
                found += [RowScore(0, row, value) for row, value in metric.score(*pair).items()]
            except UndefinedScore as error:
                found.append(RowScore(0, metric.name, None, str(error)))
        return found


def _aligned(tokens: Codes, clean: Codes | None, offset: float, frame_rate: float | None) -> tuple[Codes, Codes]:
    """Both, cut to the frames that correspond."""
    if clean is None or clean.indices is None or tokens.indices is None:
        raise UndefinedScore("the clean recording was not encoded")
    kept = min(len(tokens.codebook_sizes), len(clean.codebook_sizes))
    if tokens.codebook_sizes[:kept] != clean.codebook_sizes[:kept]:
        raise UndefinedScore("the codebooks differ between the two")
    frames = round(offset)
    before, after = tokens.indices[:kept, max(frames, 0) :], clean.indices[:kept, max(-frames, 0) :]
    edge = round(EDGE * (frame_rate or 0)) if offset else 0
    end = min(before.shape[1], after.shape[1]) - edge
    if end <= edge:
        raise UndefinedScore("too short: every frame is near an end" if edge else "no tokens were sent")
    sizes = tokens.codebook_sizes[:kept]
    return Codes(0, before[:, edge:end], sizes), Codes(0, after[:, edge:end], sizes)
