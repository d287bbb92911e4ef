"""A part of a run: `--shard i/n`. Parts are by utterance; `evalkit merge` joins them (merge.py)."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from evalkit.errors import UsageError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def take(self, items: Sequence[Item], groups: Sequence[Hashable]) -> list[Item]:
        """The items of this part; items of one group (`groups` has one for each item) stay together."""
        number = {group: position for position, group in enumerate(dict.fromkeys(groups))}
        return [item for item, group in zip(items, groups, strict=True) if number[group] % self.count == self.index - 1]


def parse_shard(text: str) -> Shard:
    """The shard that `i/n` names; raises UsageError for anything else."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise UsageError(f"--shard {text!r} is not i/n with i from 1 to n: write 1/4, 2/4, 3/4 and 4/4")
    return Shard(int(index), int(count))
