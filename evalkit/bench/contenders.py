"""Which codecs are measured, and with which weights: `NAME[@RATE][:random]`."""

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.codecs import Codec, Randomizable, Weighted
from evalkit.errors import UsageError
from evalkit.pipeline.choice import CodecChoice, assign, choose

RANDOM = ":random"


@dataclass(frozen=True)
class Contender:
    """A codec at one rate, with its own weights or with random ones."""

    choice: CodecChoice
    random: bool = False

    @property
    def weights(self) -> str:
        """`random`, `own`, or "" for codecs that have none."""
        if self.random:
            return "random"
        return "own" if isinstance(self.choice.family, Weighted) else ""

    @property
    def spec(self) -> str:
        """What names it on a command line."""
        return self.choice.spec + (RANDOM if self.random else "")

    def build(self, device: str) -> Codec:
        """The codec on `device`.

        Raises:
            UsageError: random weights for a codec whose architecture is not known without its own.
            MissingError: weights or a package are not here; it says how to get them.
        """
        family = self.choice.family
        if self.random:
            if not isinstance(family, Randomizable):
                raise UsageError(
                    f"{self.choice.spec} cannot have random weights: evalkit does not know its architecture"
                )
            return family.random(self.choice.rate, device)
        return self.choice.build(device)


def contenders(specs: Sequence[str], weights: Sequence[str] = (), random: bool = False) -> tuple[Contender, ...]:
    """What the options of a bench name.

    Args:
        specs: `NAME[@RATE]`, with `:random` behind it for random weights whatever is here.
        weights: As for `assign`.
        random: Whether every codec whose weights are not here gets random ones.

    Returns:
        One for each of `specs`.

    Raises:
        UsageError: As `choose` and `assign` do, and where a codec comes twice.
    """
    choices = assign([choose(spec.removesuffix(RANDOM)) for spec in specs], weights, "--weights")
    found = []
    for spec, choice in zip(specs, choices, strict=True):
        absent = random and not choice.availability().ready and isinstance(choice.family, Randomizable)
        found.append(Contender(choice, absent or spec.endswith(RANDOM)))
    if len({one.spec for one in found}) < len(found):
        raise UsageError("a codec is named twice: ratios would compare it with itself")
    return tuple(found)
