"""The run folder: its files, lock, attempts, journal and commits."""
