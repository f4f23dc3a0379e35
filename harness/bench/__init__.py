"""Benchmarks of one's own machine: a job run at several sizes by fixed rules, and what its figures carry."""
