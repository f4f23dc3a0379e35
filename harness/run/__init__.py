"""The passage that every run takes, and the commands and the Python API that start it."""
