"""Starts ranks: command lines and scripts as pure text in one function, run in another. Loads no TensorFlow."""
