"""Conditions: what is done to the audio before encoding, to the codes before decoding, or to the codec's use.

A condition is a column of the rows, so every metric, table, test, plot and gate works under it. Each kind is registered
as an entry point `evalkit.conditions` and named `NAME[:OPTION=VALUE,…]` on the command line.
"""

from collections.abc import Sequence
from dataclasses import MISSING

from evalkit import plugins
from evalkit.conditions.base import Clean, Condition
from evalkit.environment.contained import opening
from evalkit.errors import UsageError, choose_from
from evalkit.files import is_text

__all__ = ["Clean", "Condition", "load_condition", "load_conditions"]


def load_condition(spec: str) -> Condition:
    """The condition that `NAME[:VALUE][,OPTION=VALUE…]` names; a VALUE without a name is that of the first option.

    Raises:
        UsageError: there is no such condition or option, or a value is not one that it takes.
    """
    name, first, given = plugins.split_spec(spec)
    kind: type[Condition] = plugins.load("condition", name)
    if not (isinstance(kind, type) and issubclass(kind, Condition)):
        raise UsageError(
            f"{name} is not a condition: it must be a class that inherits from evalkit.conditions.Condition"
        )
    known = {item.name: item for item in kind.options()}
    if first is not None:
        if not known:
            raise UsageError(f"condition {spec!r}: {kind.kind} takes no options")
        given = {next(iter(known)): first, **given}
    for option in given:
        if option not in known:
            raise choose_from(f"option of the condition {kind.kind}", option, list(known))
    absent = [option for option, item in known.items() if item.default is MISSING and option not in given]
    if absent:
        raise UsageError(f"condition {spec!r} needs {', '.join(f'{one}=…' for one in absent)}: write {kind.usage()}")
    values = {option: _value(spec, known[option].type, option, text) for option, text in given.items()}
    with opening(f"condition {spec!r} cannot be created"):
        return kind(**values)


def load_conditions(specs: Sequence[str | Condition]) -> tuple[Condition, ...]:
    """The conditions that `specs` name or are; none means clean.

    Raises:
        UsageError: as `load_condition`, or where one comes twice.
    """
    found = [load_condition(one) if isinstance(one, str) else one for one in specs] or [Clean()]
    for one in found:
        if not isinstance(one, Condition) or not all(is_text(getattr(one, text, None)) for text in ("kind", "about")):
            raise UsageError(
                f"{one!r} is not a condition: it must inherit from evalkit.conditions.Condition and have a "
                "`kind` and an `about`"
            )
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"the condition {name} is given twice")
    return tuple(found)


def _value(spec: str, kind: object, option: str, text: str) -> object:
    """`text` as the type `kind` of a field: str, int or float."""
    try:
        return kind(text)  # type: ignore[operator]
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"condition {spec!r}: {option} must be {what}, not {text!r}") from None
