"""What a machine tells of itself: energy of processors and GPUs, cores that may be used. Knows nothing of runs and jobs."""
