"""Predictions as a dataset: formats, manifest, writer, source."""
