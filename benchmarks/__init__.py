"""Benchmarks: `python -m benchmarks.NAME` prints a table, writes results/NAME.json and exits 1 when a check fails."""
