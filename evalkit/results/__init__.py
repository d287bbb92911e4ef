"""The run directory: rows, provenance, summary."""
