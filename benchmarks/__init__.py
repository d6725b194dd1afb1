"""Benchmarks: `python -m benchmarks.<name> [--quick] [--json FILE]` prints a table with spread and its bars.

Comparisons are interleaved within one run; a bar that does not hold is printed as such, and the exit code is 1.
"""
