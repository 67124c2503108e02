"""Benchmarks: each file prints one table. See README.md."""
