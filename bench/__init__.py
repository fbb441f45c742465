"""Benchmarks: each a program, run as `python -m bench.NAME`; none of them is installed."""
