"""Codecs and metrics of others that return, raise, print and end what they should not."""

import os
from pathlib import Path
from random import Random

from .attempt import Fault, check_rows, evalkit, real, sound, speech

CODEC = """
import os, sys, threading, time, warnings, logging
import numpy as np
from evalkit.codecs import Codes
{top}

class C:
    name = {name}
    sample_rate = {rate}
    frame_rate = {frame_rate}
    codebook_sizes = {sizes}
    streaming = False
    details = {details}
    calls = 0
    def __init__(self):
        {init}
    def encode(self, wav):
        C.calls += 1
        good = Codes(len(wav), np.zeros((1, 4), np.int64), (8,))
        {encode}
        return good
    def decode(self, codes):
        good = np.zeros(codes.length, np.float32)
        {decode}
        return good
"""
METRIC = """
import os, sys, threading, time, warnings, logging
from dataclasses import dataclass
import numpy as np
from evalkit.metrics.base import PairMetric
{top}

@dataclass(frozen=True)
class M(PairMetric):
    def score(self, pair):
        good = 0.5
        {score}
        return good

METRIC = M(
    name={name}, label={label}, direction={direction}, unit="", low=0.0, high={high}, version="1", decimals={decimals},
)
"""
VALUES = (
    "None", "True", "'x'", "''", "b'x'", "[]", "()", "{}", "object", "object()", "1j", "-1", "2**70", "float('nan')",
    "float('inf')",
    "np.array(None)", "np.zeros((2, 2), np.float32)", "np.float32(1)", "np.zeros(0)", "np.array('x')", "iter([1])",
    "lambda: 1", "NotImplemented",
)  # fmt: skip
CODES = (
    "Codes(len(wav), np.full((1, 4), np.nan), (8,))", "Codes(len(wav), np.full((1, 4), 2**62), (8,))",
    "Codes(len(wav), None, (8,))",
    "Codes(len(wav), np.zeros((1, 4)), (8,))", "Codes(len(wav), np.zeros((4,), np.int64), (8,))",
    "Codes(0, np.zeros((1, 4), np.int64), (8,))",
    "Codes(len(wav), np.zeros((1, 0), np.int64), (8,))", "Codes(len(wav), np.zeros((1, 4), np.int64), (0,))",
    "Codes(len(wav), np.zeros((1, 4), np.int64), (-8,))",
    "Codes(len(wav), np.zeros((1, 4), np.int64), ('8',))", "Codes(None, None, (), (b'',), 8)",
    "Codes(len(wav), payload=(b'',), payload_bits=-8)",
    "Codes(len(wav), payload_bits=1.5)", "Codes(len(wav), payload=None, payload_bits=2**80)",
    "Codes(len(wav), np.ma.zeros((1, 4), np.int64), (8,))",
    "Codes(len(wav), np.zeros((1, 4), 'U1'), (8,))", "Codes(len(wav), [[0]], (8,))", "Codes('x')",
)  # fmt: skip
WAVES = (
    "np.zeros(codes.length)", "np.zeros((codes.length, 1), np.float32)", "np.zeros(codes.length + 1, np.float32)",
    "np.float32(0)",
    "np.full(codes.length, np.nan, np.float32)", "np.zeros(codes.length, np.float16)",
    "np.zeros(codes.length, bool)", "np.zeros(codes.length, complex)",
    "np.full(codes.length, 3e38, np.float32)", "np.ma.masked_all(codes.length, np.float32)",
    "np.zeros(2 * codes.length, np.float32)[::2]",
    "[0.0] * codes.length", "np.zeros(codes.length, '>f4')", "np.zeros(codes.length, object)",
)  # fmt: skip
RAISES = (
    "ValueError", "ValueError()", "ValueError('two\\nlines')", "ValueError('\\udcff \\x1b[31m')",
    "ValueError('x' * 100_000)", "MemoryError", "RecursionError", "StopIteration",
    "SystemExit", "SystemExit(0)", "SystemExit('x')", "GeneratorExit", "OSError(28, 'No space left on device')",
    "BrokenPipeError", "TimeoutError",
    "AssertionError", "ExceptionGroup('g', [ValueError()])",
    "type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", "type('B', (BaseException,), {})()",
    "KeyError('x')", "UnicodeDecodeError('utf-8', b'x', 0, 1, 'y')", "RuntimeError('CUDA out of memory')",
    "__import__('evalkit.errors').errors.UsageError('x')",
    "__import__('concurrent.futures').futures.BrokenExecutor", "__import__('asyncio').CancelledError",
)  # fmt: skip
SIDE = (
    "print('noise'); sys.stdout.flush()", "print('\\x1b[2J::error::x')", "sys.stderr.write('Trace back')",
    "os.write(1, b'')", "wav = None",
    "warnings.warn('noise')", "logging.getLogger().setLevel('DEBUG'); logging.warning('noise')",
    "print('x' * 1_000_000)", "np.random.seed()",
    "(lambda f: f(f))(lambda f: f(f))", "np.zeros(2**46)", "int('x')", "assert False", "globals().clear()",
    "good = good / 0",
)  # fmt: skip
REAL = (
    "os.chdir('/')", "sys.stdout.close()", "sys.stderr.close()", "sys.stdout = None", "os.close(1)",
    "np.seterr(all='raise')", "sys.setrecursionlimit(60)",
    "warnings.simplefilter('error')", "time.sleep(99)", "threading.Thread(target=time.sleep, args=(1,)).start()",
    "signal = __import__('signal'); signal.alarm(1)",
    "sys.exit(0)", "__import__('atexit').register(lambda: 1 / 0)", "__import__('locale').setlocale(0, 'C')",
    "os.environ.clear()", "os.umask(0o777)",
    "__import__('gc').disable()", "sys.modules.pop('numpy')", "threading.Thread(target=lambda: 1 / 0).start()",
    "os.fork() or os._exit(0)", "while True: time.sleep(0.1)", "sys.stderr = None", "os.close(2)", "os.close(0)",
    "sys.__stderr__.close()", "__import__('io').TextIOWrapper(sys.stdout.buffer)",
    "__import__('atexit').register(lambda: os._exit(0))", "__import__('atexit').register(time.sleep, 99)",
    "threading.Timer(0.2, lambda: os._exit(0)).start()",
)  # fmt: skip
CONTAINED = ("os._exit(0)", "os._exit(3)", "os.fork()", "os.chdir('/')")
"""What a codec cannot do to the process in which it runs."""
DEADLY = (
    "os._exit(0)",
    "os._exit(1)",
    "os.kill(os.getpid(), 9)",
    "__import__('ctypes').string_at(0)",
    "os.abort()",
    "os.kill(os.getpid(), 15)",
)
"""What ends the process: fatal for a metric's worker alone; a codec runs in the main process."""
TOP = ("", "", "", "print('hello')", "raise ValueError('no')", "sys.exit(0)", "import no_such_module", "x = (",
    "1 / 0", "raise KeyboardInterrupt",
       "warnings.warn('deprecated')", "sys.stdout.write('x' * 10000)")  # fmt: skip
NAMES = (
    "''",
    "None",
    "1",
    "'a' * 300",
    "'$\\\\frac$'",
    "'<b>'",
    "'a\\nb'",
    "'=1'",
    "'reference'",
    "'\\udcff'",
    "('a',)",
    "'../x'",
    "'[/x]'",
    "'a,b'",
)


def attempt(rng: Random, folder: Path) -> None:
    """A codec or a metric with one or two things wrong, over two utterances."""
    for i in range(2):
        sound(folder / "data" / f"u{i}.wav", speech(0.3, number=i))
    (_codec if rng.random() < 0.6 else _metric)(rng, folder)


def _fault(rng: Random, values: tuple[str, ...], side: tuple[str, ...]) -> str:
    """A statement, now and then of the second call alone."""
    kind = rng.random()
    if kind < 0.4:
        return f"return {rng.choice(values)}"
    return f"raise {rng.choice(RAISES)}" if kind < 0.7 else rng.choice(side)


def _codec(rng: Random, folder: Path) -> None:
    alone = rng.random() < 0.08 and not os.environ.get(
        "FUZZ_QUICK"
    )  # in a process of its own: what would harm this one
    side = REAL if alone else (*SIDE, *CONTAINED)
    parts = {
        "top": "",
        "name": "'c'",
        "rate": "16000",
        "frame_rate": "13.0",
        "sizes": "(8,)",
        "details": "{}",
        "init": "pass",
        "encode": "pass",
        "decode": "pass",
    }
    for _ in range(1 if rng.random() < 0.8 else 2):
        part = rng.choice(("top", "name", "rate", "frame_rate", "sizes", "details", "init", *["encode", "decode"] * 5))
        parts[part] = {
            "top": rng.choice(TOP), "name": rng.choice(NAMES), "init": _fault(rng, ("None", "1"), side),
            "rate": rng.choice((*VALUES, "0", "1", "16000.0", "'16000'", "np.int64(16000)", "8000", "10**9")),
            "frame_rate": rng.choice((*VALUES, "0")), "sizes": rng.choice((*VALUES, "[8]", "(8, 8)", "(0,)", "(1,)",
            "('8',)", "8", "(2**80,)")),
            "details": rng.choice((*VALUES, "{1: 2}", "{'x': object()}", "{'x': float('nan')}",
            "{'weights_sha256': 1}", "{'x': {'y': {'z': []}}}")),
            "encode": _fault(rng, (*VALUES, *CODES), side), "decode": _fault(rng, (*VALUES, *WAVES), side),
        }[part]  # fmt: skip
    (folder / "mine.py").write_text(CODEC.format(**parts), encoding="utf-8", errors="backslashreplace")
    _run(
        rng,
        folder,
        alone,
        ["--codec", f"{folder / 'mine.py'}:C", "--metrics", "si-sdr,mel-2048-80-ln1p,bitrate,entropy"],
    )


def _metric(rng: Random, folder: Path) -> None:
    alone = rng.random() < 0.12 and not os.environ.get("FUZZ_QUICK")
    parts = {
        "top": "",
        "name": "'m'",
        "label": "'M'",
        "direction": "'up'",
        "high": "1.0",
        "decimals": "2",
        "score": "pass",
    }
    part = rng.choice(("top", "name", "label", "direction", "high", "decimals", *["score"] * 10))
    side = (*REAL, *DEADLY * 3) if alone else tuple(one for one in SIDE if "wav" not in one)
    parts[part] = {
        "top": rng.choice(TOP), "name": rng.choice(NAMES), "label": rng.choice((*NAMES, *VALUES)),
        "direction": rng.choice((*VALUES, "'none'")),
        "high": rng.choice(VALUES), "decimals": rng.choice((*VALUES, "100")), "score": _fault(rng, VALUES, side),
    }[part]  # fmt: skip
    (folder / "mine.py").write_text(METRIC.format(**parts), encoding="utf-8", errors="backslashreplace")
    _run(rng, folder, alone, ["--codec", "pcm", "--metrics", f"si-sdr,{folder / 'mine.py'}:METRIC"])


def _run(rng: Random, folder: Path, alone: bool, what: list[str]) -> None:
    common = [
        "--dataset",
        f"folder:{folder / 'data'}",
        "--output",
        folder / "run",
        "--no-cache",
        "--timeout",
        "3" if alone else "20",
    ]
    more = [one for one in ("--fail-fast", "--save-audio") if rng.random() < 0.15]
    run = real if alone else evalkit
    done = run("run", *what, *common, *more, allowed=(0, 2, 3, 4, 130))
    aside = alone or what[-1].rpartition(":")[2] != "METRIC"  # what metrics print, worker processes turn aside
    if aside and (done.out.count("noise") or "xxxxxxxxx" in done.out):
        raise Fault(f"a plugin's noise is among the results: {done.out[:300]!r}")
    if done.code == 130 and "KeyboardInterrupt" not in (folder / "mine.py").read_text():
        raise Fault("taken for Ctrl-C")
    if done.code in (0, 4) and "--fail-fast" not in more:
        _check(folder)


def _check(folder: Path) -> None:
    from evalkit.results.rows import CORPUS
    from evalkit.results.run import read_run

    rows = read_run(folder / "run").rows
    names = sorted(rows.loc[rows["utterance"] != CORPUS, "metric"].unique())
    check_rows(folder / "run", 2, names)
    if len(names) != 2:
        raise Fault(f"rows of {names}, where two metrics were asked for")
