"""evalkit measures neural speech codecs: encode, decode, score, compare.

    import evalkit

    run = evalkit.run(["nanocodec@1.1k", "opus@6k"], dataset="builtin", metrics="default")
    run.table()                                             # prints, and renders in a notebook
    run.rows, run.summary, run.codes                        # DataFrames
    evalkit.score(reference="originals/", decoded="decoded/")

One pair, as arrays or files:

    >>> import evalkit
    >>> import numpy as np
    >>> speech = np.sin(np.linspace(0, 2000, 16_000))
    >>> scores = evalkit.measure(speech, 0.5 * speech, sample_rate=16_000, metrics=["si-sdr"])
    >>> scores["si-sdr"].value > 60, scores["si-sdr"].reason
    (True, None)

Functions: `run`, `score`, `measure`, `load_run`, `load_codec`, `load_dataset`, and `list_codecs`, `list_metrics` and
`list_datasets`. Importing this package imports nothing heavy; each function does when it is first used.
"""

__version__ = "0.1.0"

__all__ = [
    "RunOptions",
    "list_codecs",
    "list_datasets",
    "list_metrics",
    "load_codec",
    "load_dataset",
    "load_run",
    "measure",
    "run",
    "score",
]

TYPE_CHECKING = False  # a name that type checkers know: importing `typing` would be the greater part of this import
if TYPE_CHECKING:
    from evalkit.api import (
        RunOptions,
        list_codecs,
        list_datasets,
        list_metrics,
        load_codec,
        load_dataset,
        load_run,
        measure,
        run,
        score,
    )


def __getattr__(name: str) -> object:
    if name in __all__:
        from evalkit import api

        return getattr(api, name)
    raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
