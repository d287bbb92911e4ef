"""Listening tests about a run: which utterances, stimuli and pages, how many listeners, and ratings as rows.

choose.py     the utterances on which systems disagree most, of every language
loudness.py   integrated loudness (ITU-R BS.1770)
stimuli.py    references, decoded audio and anchors as WAV, at one loudness
kit.py        what an exported test is made of: test.json
export.py     the files for webMUSHRA, or for the P.808 toolkit
ratings.py    what listeners answered, from the files of either
screening.py  whose answers do not count, and why
collect.py    ratings to a run directory
power.py      how many listeners and items a difference needs
"""
