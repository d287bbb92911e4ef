"""Networks behind metrics, as plain torch modules that read the state dicts others publish.

Each takes its shape from the state dict, so that a small one of the same layout can stand in for it in tests. They
import torch: metrics import them when they open a model, not before.
"""
