"""Finished runs handed on to trackers and formats of others; reads files, needs no TensorFlow."""
