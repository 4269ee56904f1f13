"""Benchmarks: one operation, several implementations, judged by float64 before they are timed."""
