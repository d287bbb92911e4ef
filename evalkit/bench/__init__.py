"""What a codec costs: parameters, operations, time, memory, energy, latency, and what it does to a speech LLM.

contenders.py  which codecs, with which weights
subjects.py    a codec that is being measured; its counts and latency as rows
counting.py    parameters and multiply-accumulates, on the meta device
latency.py     lookahead, receptive field and algorithmic latency, by perturbing what goes in
timing.py      rounds that take every job once; CPU seconds, a calibration kernel
energy.py      joules, where the machine tells
fresh.py       start-up time and peak memory, in a process of their own
streams.py     the first packet of a stream
ratios.py      medians, and ratios of two codecs paired by round, with intervals
directory.py   the bench directory: rows and provenance
run.py         one bench from end to end
lm/            a speech LLM driven by a codec: simulated, and by arithmetic

Times are not reproducible to the byte, so a bench is a directory of its own kind and never part of a run's rows.
"""
