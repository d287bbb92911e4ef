"""Somebody's codec behind evalkit's protocol, one file a codec. Knows `evalkit.codecs` and `evalkit.errors` only.

Importing a module here is cheap: what a codec needs (PyAV, pycodec2, torch) is imported when it is built.
"""
