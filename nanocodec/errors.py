"""What can be wrong with weights. One class, so that whoever opens a stranger's file has one thing to catch."""

from __future__ import annotations


class CheckpointError(Exception):
    """Weights that are missing, damaged, hostile or of another model; the message names the file and what to do."""


class MissingWeightsError(CheckpointError):
    """Weights that are not on this machine; the message says which exist and the command that brings them."""


class MismatchError(CheckpointError):
    """Tensors that are not exactly the model's.

    Attributes hold every name in full; the message shows the first of each kind.
    """

    def __init__(self, where: object, what: str, missing: list[str], unexpected: list[str], wrong: list[str]) -> None:
        self.missing, self.unexpected, self.wrong = missing, unexpected, wrong
        kinds = (("missing", missing), ("unexpected", unexpected), ("wrong", wrong))
        parts = [f"{len(items)} {kind}: {_first(items)}" for kind, items in kinds if items]
        super().__init__(f"{where}: does not fit {what}: " + "; ".join(parts))


def _first(items: list[str], shown: int = 12) -> str:
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(item[:200] for item in items[:shown]) + more
