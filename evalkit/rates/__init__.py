"""What the codes of a run cost: bits as sent, and as an entropy coder or a language model would need them."""
