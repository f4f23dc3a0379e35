"""Exact sums, and hashes and draws keyed by id: in NumPy and in the graph."""
