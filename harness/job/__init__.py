"""What to evaluate: the keys of a job, how it is loaded, and what is wrong with one."""
