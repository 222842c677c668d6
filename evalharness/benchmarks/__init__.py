"""Benchmarks that other tools run: lm-evaluation-harness and Inspect AI."""
