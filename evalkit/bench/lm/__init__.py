"""What a codec does to a speech LLM: an autoregressive transformer of published size, driven by the codec's frame rate,
codebooks and vocabulary, and then the codec's own decoder.

config.py    the language models (configs/lm/*.yaml) and what of a codec matters to them
model.py     a transformer with random weights, and what it caches
simulate.py  what it takes here: measured times
roofline.py  the same by arithmetic, for machines that are not here
run.py       one bench of this kind from end to end
"""
