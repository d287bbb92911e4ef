"""What codecs are measured on: named sets of utterances, whose audio is read only when it is needed."""

from evalkit.datasets.base import Dataset, Utterance, read_manifest

__all__ = ["Dataset", "Utterance", "read_manifest"]
