"""Exact distributed evaluation of TensorFlow models."""

__version__ = "0.1.0"
