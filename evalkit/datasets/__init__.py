"""What codecs are measured on: named sets of utterances, whose audio is read only when it is needed."""

import random
from dataclasses import replace

from evalkit import plugins
from evalkit.datasets.base import Dataset, Utterance, read_manifest

__all__ = ["Dataset", "Utterance", "load_dataset", "read_manifest"]


def load_dataset(name: str, limit: int | None = None, seed: int = 0) -> Dataset:
    """The dataset registered as `name`, or `limit` of its utterances drawn with `seed`, in their own order.

    Raises UsageError for an unknown name, MissingError where its files are not on this machine.
    """
    dataset: Dataset = plugins.load("dataset", name)()
    if limit is None or limit >= len(dataset):
        return dataset
    drawn = sorted(random.Random(seed).sample(range(len(dataset)), limit))
    return replace(dataset, utterances=tuple(dataset.utterances[i] for i in drawn))
