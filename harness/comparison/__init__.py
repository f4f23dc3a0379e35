"""Finished runs against each other: what differs, how surely, and whether it may ship. Reads files; loads no TensorFlow."""
