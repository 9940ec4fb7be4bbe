"""Run history: metrics, tags and records of runs."""
