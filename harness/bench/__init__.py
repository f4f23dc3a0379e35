"""How fast a machine evaluates, and whether rightly: benchmarks of a job, kits that need no data, forecasts of other sizes."""
