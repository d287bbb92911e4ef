"""Ways to damage a file, a text or a JSON value; every choice is drawn from the generator that is given."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

NASTY = (
    "", " ", "n" * 300, "a,b;c", "it's", '"quoted', "[/x]", "[bold]", "a\x1b[31mred", "two\nlines", "tab\there",
    "\u2028", "\u202e",
    "\ufffe", "<script>alert(1)</script>", "a & b", "x|y", "`code`", "*a* _b_", "# head", "$\\frac$", "\\input{x}",
    "100 %",
    "{", "}", "~", "−1", "中文", "é", "e\u0301", "=1+1", "@sum", "::error::x", "%0A", "a/../b", "../../x",
    "/etc/passwd", ".hidden",
    "con", "reference", "*", "nan", "None", "0", "-", "--help", "a=b", "@", "~root/x", "$HOME", "\\\\server\\x",
)  # fmt: skip
"""Names that something takes for more than a name."""
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -0.0, 1e-300, 1e300, float("nan"), float("inf"), "", "x", "1",
    "nan",
    "1e400", [], {}, [[]], [None], {"": None}, {"a": {"b": []}}, "x" * 10_000, [0] * 1000,
)  # fmt: skip
"""Values that somebody's JSON may hold in place of the right one."""


def content(data: bytes, rng: Random) -> bytes:
    """`data` with one to three kinds of damage."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(_CONTENT)(data, rng)
    return data


def _flip(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(min(len(changed), rng.choice((1, 2, 8, 64, 512)))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _flip_head(data: bytes, rng: Random) -> bytes:
    return _flip(data[:80], rng) + data[80:]


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.choice((0, 1, 4, 12, 44, 100, len(data) // 2, max(0, len(data) - 1), rng.randint(0, len(data))))]


def _cut_head(data: bytes, rng: Random) -> bytes:
    return data[rng.randint(0, min(100, len(data))) :]


def _size_field(data: bytes, rng: Random) -> bytes:
    """Four or eight bytes of the head as an enormous, negative or zero number."""
    value = rng.choice((b"\xff", b"\x7f", b"\x80", b"\x00", b"\xfe")) * rng.choice((2, 4, 8))
    at = rng.randrange(0, max(1, min(64, len(data))))
    return data[:at] + value + data[at + len(value) :]


def _insert(data: bytes, rng: Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.randbytes(rng.choice((1, 2, 16, 1000))) + data[at:]


def _repeat(data: bytes, rng: Random) -> bytes:
    return data * 2


def _zeros(data: bytes, rng: Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + bytes(min(len(data) - at, rng.choice((8, 512, 4096)))) + data[at + 4096 :]


def _noise(data: bytes, rng: Random) -> bytes:
    return rng.randbytes(rng.choice((1, 100, 5000)))


_CONTENT: Sequence[Callable[[bytes, Random], bytes]] = (
    _flip, _flip_head, _cut, _cut_head, _size_field, _size_field, _insert, _repeat, _zeros, _noise,
)  # fmt: skip


def text(given: str, rng: Random) -> bytes:
    """`given` as a text file that somebody or something spoiled."""
    lines = given.split("\n")
    for _ in range(rng.randint(0, 2)):
        at = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0:
            lines.insert(at, lines[at])
        elif kind == 1:
            del lines[at]
        elif kind == 2:
            lines[at] += rng.choice((",", '"', "\t", " ", ",,,,", "\x00", "\x1b", "\u2028", "\x0c", "\v", "\x85"))
        elif kind == 3:
            lines[at] = lines[at][: rng.randint(0, len(lines[at]))]
        elif kind == 4:
            lines[at] = lines[at].replace(rng.choice(',:"./'), rng.choice(('"', ";", "", ",,", "'")), rng.randint(1, 3))
        elif kind == 5:
            lines.insert(at, rng.choice(("", "   ", ",,,", "#", "\ufeff", "x" * 100_000)))
        else:
            lines.append(rng.choice(NASTY))
        lines = lines or [""]
    ends, encoding = (
        rng.choice(("\n", "\n", "\r\n", "\r")),
        rng.choice(("utf-8",) * 6 + ("utf-8-sig", "utf-16", "cp1252")),
    )
    data = ends.join(lines).encode(encoding, "replace")
    return content(data, rng) if rng.random() < 0.2 else data


def json_text(value: Any, rng: Random) -> bytes:
    """`value` as JSON with one to three values replaced, keys gone or doubled; or no JSON any more."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        value = _replaced(value, rng)
    written = json.dumps(value)
    kind = rng.random()
    if kind < 0.1:
        deep = rng.choice(("[" * 20_000, "[" * 20_000 + "]" * 20_000, '{"a":' * 20_000 + "1" + "}" * 20_000))
        return (deep if rng.random() < 0.5 else written.replace("null", deep)).encode()
    return content(written.encode(), rng) if kind < 0.25 else written.encode()


def _replaced(value: Any, rng: Random) -> Any:
    """`value` with one value somewhere in it replaced."""
    children: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not children or rng.random() < 0.15:
        return rng.choice(STRANGE) if rng.random() < 0.8 else rng.choice(NASTY)
    key = rng.choice(children)
    if isinstance(value, dict) and rng.random() < 0.15:
        gone = {name: one for name, one in value.items() if name != key}
        return gone if rng.random() < 0.5 else gone | {rng.choice(NASTY): value[key]}
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[key] = _replaced(value[key], rng)
    return changed


def put(path: Path, data: bytes, rng: Random, special: bool = True) -> None:
    """Write `data` as `path`, or, now and then, something that is no such file at all."""
    if path.is_dir():
        return
    path.unlink(missing_ok=True)
    kind = rng.random() if special else 1.0
    if kind < 0.03:
        path.mkdir()
    elif kind < 0.06:
        os.mkfifo(path)
    elif kind < 0.09:
        path.symlink_to(
            rng.choice((path.name, "nowhere", "/dev/zero", "/dev/null", "/dev/full", "..", "/proc/self/mem"))
        )
    elif kind >= 0.12:  # else it is missing
        path.write_bytes(data)
