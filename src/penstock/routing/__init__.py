"""Who gets which release: buckets, splits and overrides, and the exact prediction of what a gateway will choose.

Pure: no clock, chance or I/O. A gateway driver turns a RouteTable into its own configuration; it may not decide.
"""
