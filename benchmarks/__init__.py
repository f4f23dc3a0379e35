"""Measures the harness against what people would otherwise use. Imports the harness and its peers, never the reverse."""
