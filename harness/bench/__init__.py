"""Benchmarks of one's own machine: a job at several sizes by fixed rules, kits that need no data, forecasts of other sizes."""
