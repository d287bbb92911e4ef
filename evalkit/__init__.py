"""evalkit measures neural speech codecs: encode, decode, score, compare."""

__version__ = "0.1.0"
