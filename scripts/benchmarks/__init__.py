"""catdog measured beside its peers; `scripts/benchmark.py` is the entry."""
