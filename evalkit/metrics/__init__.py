"""The metrics, one file each.

To add one:

1. Write a file with a frozen dataclass derived from `PairMetric` (one utterance: two waveforms at 16 kHz) or
   `CodesMetric` (the codes of a whole dataset); both are in `base.py`. Describe it there: formula, unit, range, source.
2. Make one instance of it, whose `name` carries the variant (`mel-2048-80-ln1p`, not `mel`).
3. Register the instance under the entry point group `evalkit.metrics` in pyproject.toml, of this package or your own.

`score` returns a finite number or raises `UndefinedScore` with the reason, which becomes the row's reason; a failure
never becomes a number. Import heavy packages inside `score`: listing metrics must stay cheap. Raise `version` whenever
the same input could give another value. The arrays of a pair may be read-only: change none in place.

`si_sdr.py` is a short example, `checks.py` has the checks that many need, `asr.py` what metrics with a recognizer share
and `secs.py` those with a speaker model; `networks/` has torch modules for weights that others publish.
`evalkit.testing.check_metric` says whether the contract is kept.
"""
